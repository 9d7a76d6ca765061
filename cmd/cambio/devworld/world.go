package devworld

import (
	"bytes"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// samples is the policy that a new data folder gets.
//
//go:embed policy
var samples embed.FS

// ErrNoData says that a folder is no data folder of dev.
var ErrNoData = errors.New("no development data")

// World is an opened data folder: the two issuers, and where everything lies.
type World struct {
	dir           string
	cluster, corp *issuer
}

// Create opens a data folder and makes whatever it lacks, save its policy. What is
// there stays as it is.
func Create(dir string) (*World, error) {
	for _, d := range []string{dir, filepath.Join(dir, "world"), filepath.Join(dir, "tokens")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("making the data folder: %w", err)
		}
	}
	w, err := open(dir, true)
	if err != nil {
		return nil, err
	}
	for name, i := range map[string]*issuer{"cluster": w.cluster, "corp": w.corp} {
		keys, err := i.jwks()
		if err != nil {
			return nil, fmt.Errorf("encoding the keys of the %s: %w", name, err)
		}
		file := w.path("world", name+".jwks.json")
		if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, keys) {
			continue
		}
		if err := writeFile(file, keys, 0o600); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Open opens the data folder of a dev that runs, or ran. A folder that is none
// gives ErrNoData.
func Open(dir string) (*World, error) {
	w, err := open(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s", ErrNoData, dir)
	}
	return w, err
}

func open(dir string, create bool) (*World, error) {
	w := &World{dir: dir}
	var err error
	if w.cluster, err = newIssuer(ClusterIssuer, "", w.path("world", "cluster.key.pem"), create); err != nil {
		return nil, err
	}
	w.corp, err = newIssuer(CorpIssuer, "JWT", w.path("world", "corp.key.pem"), create)
	return w, err
}

// WritePolicy writes the sample policy, and files beside it by name, where there is
// no policy folder yet. It is the newcomer's from then on.
func (w *World) WritePolicy(beside map[string][]byte) error {
	if _, err := os.Stat(w.PolicyDir()); err == nil {
		return nil
	}
	draft, err := os.MkdirTemp(w.dir, ".policy-*")
	if err != nil {
		return fmt.Errorf("writing the sample policy: %w", err)
	}
	defer os.RemoveAll(draft)
	sample, err := fs.Sub(samples, "policy")
	if err != nil {
		return fmt.Errorf("writing the sample policy: %w", err)
	}
	if err := os.CopyFS(draft, sample); err != nil {
		return fmt.Errorf("writing the sample policy: %w", err)
	}
	for name, text := range beside {
		if err := os.WriteFile(filepath.Join(draft, name), text, 0o644); err != nil {
			return fmt.Errorf("writing the sample policy: %w", err)
		}
	}
	if err := os.Chmod(draft, 0o755); err != nil {
		return fmt.Errorf("writing the sample policy: %w", err)
	}
	if err := os.Rename(draft, w.PolicyDir()); err != nil {
		return fmt.Errorf("writing the sample policy: %w", err)
	}
	return nil
}

func (w *World) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// Dir is the data folder.
func (w *World) Dir() string { return w.dir }

// PolicyDir is the folder of the policy.
func (w *World) PolicyDir() string { return w.path("policy") }

// Database is the path of the SQLite file.
func (w *World) Database() string { return w.path("cambio.db") }

// SealKey reads the sealing key of this data folder, or makes it.
func (w *World) SealKey() ([]byte, error) {
	file := w.path("seal.key")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, exchange.SealKeySize)
		_, _ = rand.Read(key) // never fails
		return key, writeFile(file, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the sealing key: %w", err)
	}
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != exchange.SealKeySize {
		return nil, fmt.Errorf("%s holds no sealing key: remove the data folder and start cambio dev again", file)
	}
	return key, nil
}

// AuditorToken and OperatorToken are the files that KeepTokens writes.
func AuditorToken(dir string) string  { return filepath.Join(dir, "tokens", "auditor.jwt") }
func OperatorToken(dir string) string { return filepath.Join(dir, "tokens", "operator.jwt") }

// WriteTokens mints fresh tokens for the auditor and the operator into the data
// folder.
func (w *World) WriteTokens(now time.Time) error {
	for file, user := range map[string]string{AuditorToken(w.dir): Auditor, OperatorToken(w.dir): Operator} {
		token, err := w.User(now, user, nil, Audience)
		if err != nil {
			return err
		}
		if err := writeFile(file, []byte(token.Reveal()+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// RemoveTokens takes them away when dev stops.
func (w *World) RemoveTokens() {
	_ = os.Remove(AuditorToken(w.dir))
	_ = os.Remove(OperatorToken(w.dir))
}

// Handler serves what a real cluster and a real company would: discovery
// (OpenID Connect Discovery 1.0 §4) and key sets, below /dev/cluster and
// /dev/corp of base, the URL that dev answers at.
func (w *World) Handler(base string) (http.Handler, error) {
	mux := http.NewServeMux()
	for name, i := range map[string]*issuer{"cluster": w.cluster, "corp": w.corp} {
		keys, err := i.jwks()
		if err != nil {
			return nil, fmt.Errorf("encoding the keys of the %s: %w", name, err)
		}
		here := "/dev/" + name
		discovery, err := json.MarshalIndent(map[string]any{
			"issuer": i.url, "jwks_uri": base + here + "/jwks", "response_types_supported": []string{"id_token"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
		}, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encoding the discovery of the %s: %w", name, err)
		}
		mux.HandleFunc("GET "+here+"/.well-known/openid-configuration", document("application/json", discovery))
		mux.HandleFunc("GET "+here+"/jwks", document("application/jwk-set+json", keys))
	}
	return mux, nil
}

func document(contentType string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(body)
	}
}
