package server

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// Certificate is a certificate chain and its key in two PEM files, reloaded when
// the files change.
type Certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
	loaded            [sha256.Size]byte // of the files that current is made of
}

// OpenCertificate reads both files.
func OpenCertificate(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	if _, err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload looks at the files and takes them over if they hold something new. On an
// error the certificate stays what it was: the two files are seldom written at
// the same instant, and a typo must not close the house. It is not for concurrent
// use; Get is.
func (c *Certificate) Reload() (changed bool, err error) {
	chain, err := os.ReadFile(c.certFile)
	if err != nil {
		return false, fmt.Errorf("reading the certificate: %w", err)
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return false, fmt.Errorf("reading the certificate's key: %w", err)
	}
	// The bytes are compared and not the times: mounted secrets and restored
	// backups bring times of their own.
	sum := sha256.New()
	fmt.Fprintf(sum, "%d:", len(chain))
	sum.Write(chain)
	sum.Write(key)
	var now [sha256.Size]byte
	if sum.Sum(now[:0]); now == c.loaded {
		return false, nil
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return false, fmt.Errorf("reading the certificate %s with the key %s: %w", c.certFile, c.keyFile, err)
	}
	c.current.Store(&pair)
	c.loaded = now
	return true, nil
}

// Get is for tls.Config.GetCertificate.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// NotAfter is when the certificate that is served now expires.
func (c *Certificate) NotAfter() time.Time { return c.current.Load().Leaf.NotAfter }

// Watch reloads at every tick until ctx ends, and reports what came of it: a nil
// error for a new certificate, and a failure once, however long it lasts.
func (c *Certificate) Watch(ctx context.Context, ticks <-chan time.Time, report func(error)) {
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		changed, err := c.Reload()
		switch {
		case err != nil && err.Error() != last:
			last = err.Error()
			report(err)
		case err == nil:
			last = ""
			if changed {
				report(nil)
			}
		}
	}
}
