package door

import (
	"context"
	"crypto/rsa"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/disk"
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
)

// ociFiles keeps a resource principal of version 2.2 in a folder. The key stays the same
// over renewals and new starts: Oracle's SDK for Go reads it once in a process's life.
type ociFiles struct {
	dir     string
	key     *rsa.PrivateKey
	session *oci.Session
	region  atomic.Pointer[string] // as the token says
}

func (r *Room) ociFiles(s *OCIFiles, random io.Reader, before *ociFiles) (*ociFiles, error) {
	f := &ociFiles{dir: s.Dir}
	var err error
	if f.key, err = disk.Own(0o600).Key(filepath.Join(s.Dir, ociKey), func() (*rsa.PrivateKey, error) {
		if before != nil && before.dir == s.Dir {
			return before.key, nil
		}
		return oci.NewKey(random)
	}); err != nil {
		return nil, fmt.Errorf("oci.files.dir: %w", err)
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
	token, err := oci.Read(c)
	if err != nil {
		return err
	}
	for _, part := range []struct{ name, text string }{
		{ociKey, string(disk.PEM(f.key))}, {ociRegion, token.Region}, {ociToken, token.Token.Reveal()},
	} {
		// There is no newline at an end: SDKs would send it.
		if err := disk.Keep(filepath.Join(f.dir, part.name), part.text, 0o600); err != nil {
			return err
		}
	}
	f.region.Store(&token.Region)
	return nil
}
