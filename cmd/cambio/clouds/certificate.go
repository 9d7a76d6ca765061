package clouds

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// certificateLife is how long the certificates are good for, from a start on.
const certificateLife = 90 * 24 * time.Hour

// names are those by which this machine knows itself.
var (
	dnsNames  = []string{"localhost"}
	addresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
)

// certify makes an authority and one certificate of it for this machine. The
// authority's key is dropped: nobody can make another certificate, and none of
// another name would be good, should somebody trust the authority for more than
// this.
func certify(now time.Time) (authority []byte, leaf tls.Certificate, err error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, fmt.Errorf("making the authority's key: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, fmt.Errorf("making the key of the stand-ins: %w", err)
	}
	root := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Cambio stand-ins on this machine"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: dnsNames,
	}
	for _, a := range addresses {
		if four := a.To4(); four != nil {
			a = four
		}
		root.PermittedIPRanges = append(root.PermittedIPRanges, &net.IPNet{IP: a, Mask: net.CIDRMask(8*len(a), 8*len(a))})
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return nil, leaf, fmt.Errorf("making the authority: %w", err)
	}
	own := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter, DNSNames: dnsNames, IPAddresses: addresses,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	parsed, err := x509.ParseCertificate(rootDER)
	if err != nil {
		return nil, leaf, fmt.Errorf("reading the authority: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, own, parsed, key.Public(), rootKey)
	if err != nil {
		return nil, leaf, fmt.Errorf("making the certificate of the stand-ins: %w", err)
	}
	authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
	return authority, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// serial is one of RFC 5280 §4.1.2.2: positive, of 20 bytes at most.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}
