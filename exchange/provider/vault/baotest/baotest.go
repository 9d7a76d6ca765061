// Package baotest starts a real OpenBao for tests, in memory and unsealed, on a free
// loopback port. It fails where none can be run, and never skips.
package baotest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// version is what install.sh installs.
const version = "2.7.2"

// startTimeout bounds a start: a loaded machine needs some seconds.
const startTimeout = 90 * time.Second

// Server is one running OpenBao.
type Server struct {
	// Address is its URL, Token its root token.
	Address string
	Token   string

	binary  string
	process *process
}

// shared is the server of those who want nothing special of it.
var shared struct {
	sync.Mutex
	server *Server
}

// Start returns a running server, one for the whole test binary, which ends with the
// binary. Tests mount what they need under names of their own.
func Start(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		shared.server = launch(t)
	}
	return shared.server
}

// StartOwn returns a server of the test's own, which ends with it and may be sealed.
func StartOwn(t testing.TB) *Server {
	t.Helper()
	s := launch(t)
	t.Cleanup(s.process.end)
	return s
}

func launch(t testing.TB) *Server {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatalf("OpenBao could not be started, and these tests need it: %v\nTo install it: make openbao", err)
	}
	return s
}

func start() (*Server, error) {
	binary, err := find()
	if err != nil {
		return nil, err
	}
	s := &Server{Token: "root-" + rand.Text(), binary: binary}
	// Another program may take a port between our look and the server's: then another.
	for range 5 {
		var port int
		if port, err = freePorts(); err != nil {
			return nil, err
		}
		s.Address = fmt.Sprintf("http://127.0.0.1:%d", port)
		if s.process, err = run(binary, strings.TrimPrefix(s.Address, "http://"), s.Token); err != nil {
			return nil, err
		}
		if err = s.process.await(s.Address + "/v1/sys/health"); err == nil {
			return s, nil
		}
		s.process.end()
	}
	return nil, err
}

// find looks at what is named, then where install.sh installs.
func find() (string, error) {
	if named := os.Getenv("CAMBIO_BAO"); named != "" {
		return exec.LookPath(named)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return exec.LookPath(filepath.Join(cache, "cambio", "openbao-"+version, "bao"))
}

// Try makes a call of the API as root, in a namespace if one is named, and returns the
// answer; an error where its status is not good.
func (s *Server) Try(ctx context.Context, namespace, method, path string, body any) (map[string]any, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, s.Address+"/v1/"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Vault-Token", s.Token)
	if namespace != "" {
		r.Header.Set("X-Vault-Namespace", namespace)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return nil, err
	case answer.StatusCode >= 300:
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, said)
	case len(said) == 0:
		return nil, nil
	}
	var decoded map[string]any
	return decoded, json.Unmarshal(said, &decoded)
}

// Write is a POST that must succeed.
func (s *Server) Write(t testing.TB, path string, body any) map[string]any {
	t.Helper()
	return s.WriteIn(t, "", path, body)
}

// WriteIn is a POST in a namespace that must succeed.
func (s *Server) WriteIn(t testing.TB, namespace, path string, body any) map[string]any {
	t.Helper()
	a, err := s.Try(t.Context(), namespace, http.MethodPost, path, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Policy writes a policy.
func (s *Server) Policy(t testing.TB, namespace, name, rules string) {
	t.Helper()
	s.WriteIn(t, namespace, "sys/policies/acl/"+name, map[string]any{"policy": rules})
}

// Shell runs a script as an administrator would type it: bao is there, and is told
// where the server is and who root is.
func (s *Server) Shell(ctx context.Context, script string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-euc", script)
	cmd.Dir = s.process.dir
	cmd.Env = []string{
		"PATH=" + filepath.Dir(s.binary) + ":" + os.Getenv("PATH"), "HOME=" + s.process.dir,
		"BAO_ADDR=" + s.Address, "BAO_TOKEN=" + s.Token,
	}
	return cmd.CombinedOutput()
}

// unsealKey stands in what a server in memory says when it is up.
var unsealKey = regexp.MustCompile(`Unseal Key: (\S+)`)

// Seal seals the server, until the returned function is called.
func (s *Server) Seal(t testing.TB) (unseal func()) {
	t.Helper()
	key := unsealKey.FindStringSubmatch(s.process.log())[1]
	s.Write(t, "sys/seal", nil)
	return func() {
		t.Helper()
		s.Write(t, "sys/unseal", map[string]any{"key": key})
	}
}
