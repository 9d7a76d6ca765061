package door

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"time"
)

// authority is a CA that has signed one certificate and can sign no other: its key is
// gone. So whoever trusts it trusts this listener, of this start of the agent.
type authority struct {
	listen string
	ca     []byte // PEM
	config *tls.Config
}

const (
	backdated = time.Hour // for clocks that differ
	decade    = 10 * 365 * 24 * time.Hour
)

func newAuthority(listen string, now time.Time, random io.Reader) (*authority, error) {
	at, err := netip.ParseAddrPort(listen)
	if err != nil {
		return nil, err
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cambio-agent CA"},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(decade),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(random, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return nil, err
	}
	// Its subject is not that of the CA, or OpenSSL would take it for self-signed.
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "cambio-agent"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"localhost"},
	}
	for _, ip := range slices.Compact([]netip.Addr{at.Addr(), netip.MustParseAddr("127.0.0.1")}) {
		leaf.IPAddresses = append(leaf.IPAddresses, net.IP(ip.AsSlice()))
	}
	leafDER, err := x509.CreateCertificate(random, leaf, ca, &leafKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	return &authority{
		listen: listen, ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
		config: &tls.Config{
			MinVersion:   tls.VersionTLS12,
			NextProtos:   []string{"http/1.1"},
			Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}},
		},
	}, nil
}
