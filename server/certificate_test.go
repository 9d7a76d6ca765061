package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/server"
)

// certificate is a self-signed pair in two files.
type certificate struct {
	t        testing.TB
	certFile string
	keyFile  string
	roots    *x509.CertPool // grows with every renewal
}

func newCertificate(t testing.TB, name string) *certificate {
	t.Helper()
	dir := t.TempDir()
	c := &certificate{t: t, certFile: filepath.Join(dir, "tls.crt"), keyFile: filepath.Join(dir, "tls.key"), roots: x509.NewCertPool()}
	c.renew(name)
	return c
}

func (c *certificate) renew(name string) {
	c.t.Helper()
	chain, key := c.make(name)
	c.write(c.certFile, chain)
	c.write(c.keyFile, key)
}

func (c *certificate) make(name string) (chain, keyPEM []byte) {
	c.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		c.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		c.t.Fatal(err)
	}
	chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	c.roots.AppendCertsFromPEM(chain)
	return chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

func (c *certificate) write(file string, b []byte) {
	c.t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *certificate) served(s *server.Certificate) string {
	c.t.Helper()
	pair, err := s.Get(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return pair.Leaf.Subject.CommonName
}

func TestCertificateReload(t *testing.T) {
	files := newCertificate(t, "first")
	live, err := server.OpenCertificate(files.certFile, files.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	step := func(what string, wantChanged, wantErr bool, want string) {
		t.Helper()
		changed, err := live.Reload()
		if changed != wantChanged || (err != nil) != wantErr || files.served(live) != want {
			t.Errorf("%s: changed %v, err %v, serves %q", what, changed, err, files.served(live))
		}
	}
	step("nothing new", false, false, "first")
	chain, key := files.make("second")
	files.write(files.certFile, chain)
	step("half written", false, true, "first")
	files.write(files.keyFile, key)
	step("written", true, false, "second")
	files.write(files.certFile, []byte("garbage"))
	step("broken", false, true, "second")
	if err := os.Remove(files.keyFile); err != nil {
		t.Fatal(err)
	}
	step("gone", false, true, "second")
	files.renew("third")
	stale := time.Now().Add(-24 * time.Hour) // a restored backup brings its own times
	for _, f := range []string{files.certFile, files.keyFile} {
		if err := os.Chtimes(f, stale, stale); err != nil {
			t.Fatal(err)
		}
	}
	step("mended", true, false, "third")
	if _, err := server.OpenCertificate(files.certFile, files.keyFile+".absent"); err == nil {
		t.Error("opened without a key")
	}
}

func TestCertificateWatchReportsAFaultOnce(t *testing.T) {
	files := newCertificate(t, "first")
	live, err := server.OpenCertificate(files.certFile, files.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	ticks, done := make(chan time.Time), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	var reports []error
	go func() {
		defer close(done)
		live.Watch(ctx, ticks, func(err error) { reports = append(reports, err) })
	}()
	tick := func() { ticks <- time.Time{} }
	tick()
	files.write(files.certFile, []byte("garbage"))
	tick()
	tick() // still broken: said once
	tick()
	files.renew("second")
	tick()
	cancel()
	<-done
	// The watcher takes a tick when it has done with the one before, so the last
	// but one is done for sure, and the last when it has ended.
	if len(reports) != 2 || reports[0] == nil || reports[1] != nil || files.served(live) != "second" {
		t.Errorf("%v", reports)
	}
}
