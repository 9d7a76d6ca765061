package door

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/oci"
)

const (
	ociKey, ociToken, ociRegion = "key.pem", "rpst", "region"

	// ociLook is how often it is looked whether the token is past half its life.
	ociLook = 30 * time.Second
	// ociHalf is more than any token lives (12 h): of a source that is asked for so
	// much, half its life is what one gets. SDKs hold a token for dead five minutes
	// before its end, and read the file then, not earlier.
	ociHalf = 24 * time.Hour
	maxKey  = 16 << 10 // bytes
)

// ociFiles keeps a resource principal of version 2.2 in a folder. The key stays the same
// over renewals and new starts: Oracle's SDK for Go reads it once in a process's life.
type ociFiles struct {
	dir     string
	key     *rsa.PrivateKey
	session *oci.Session
	written *cambio.Credential     // the token that is in the folder
	region  atomic.Pointer[string] // as the token says
}

func (r *Room) ociFiles(s *OCIFiles, random io.Reader, before *ociFiles) (*ociFiles, error) {
	f := &ociFiles{dir: s.Dir}
	key, err := readKey(filepath.Join(s.Dir, ociKey))
	switch {
	case err == nil:
		f.key = key
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("oci.files.dir: %w: remove the file, and a new key is made", err)
	case before != nil && before.dir == s.Dir:
		f.key = before.key
	default:
		if f.key, err = oci.NewKey(random); err != nil {
			return nil, err
		}
	}
	request, err := r.targets.Request(s.Target)
	if err != nil {
		return nil, err
	}
	if f.session, err = oci.NewSession(r.targets.Client(), request, f.key); err != nil {
		return nil, err
	}
	r.targets.Track(s.Target, f.session.Source())
	return f, nil
}

// write puts a token into the folder, unless it is there. Key and region come first, so
// that whoever sees the token has them.
func (f *ociFiles) write(ctx context.Context) error {
	c, err := f.session.Source().AtLeast(ctx, ociHalf)
	if err != nil {
		return err
	}
	if c == f.written {
		return nil
	}
	token, err := oci.Read(c)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(f.dir, ociKey)); f.written == nil || err != nil {
		block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(f.key)}
		if err := f.put(ociKey, string(pem.EncodeToMemory(block))); err != nil {
			return err
		}
	}
	if err := f.put(ociRegion, token.Region); err != nil {
		return err
	}
	if err := f.put(ociToken, token.Token.Reveal()); err != nil {
		return err
	}
	f.written = c
	f.region.Store(&token.Region)
	return nil
}

// put writes a file of the folder. There is no newline at its end: SDKs would send it.
func (f *ociFiles) put(name, text string) error {
	return put(filepath.Join(f.dir, name), text, 0o600)
}

// readKey reads the key of an earlier start.
func readKey(path string) (*rsa.PrivateKey, error) {
	text, err := readFile(path, maxKey)
	if err != nil {
		return nil, err
	}
	return parseKey(path, text)
}

func parseKey(path, text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "RSA PRIVATE KEY" {
		return nil, fmt.Errorf("%s holds no RSA key", path)
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no RSA key", path)
	}
	return key, nil
}
