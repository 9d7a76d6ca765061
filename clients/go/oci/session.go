package oci

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

const (
	// keyBits is what Oracle's SDKs use for sessions, and the least that Cambio takes.
	keyBits = 2048
	// sendLeft is how long a token lives at least when a request is signed: it takes
	// time to arrive, and clocks differ.
	sendLeft = time.Minute
)

// NewKey makes a key for a Session, of 2048 bits. random nil: that of the machine.
func NewKey(random io.Reader) (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(random, keyBits)
	if err != nil {
		return nil, fmt.Errorf("oci: making a key: %w", err)
	}
	return key, nil
}

// Session signs with a key that stays here, and with the token that the server hands
// out for it. It is safe for concurrent use.
type Session struct {
	source *cambio.TokenSource
	key    *rsa.PrivateKey
	parsed atomic.Pointer[parsed]
}

// Credential is what one signature is made with. Key and Token belong together.
type Credential struct {
	Token cambio.Secret
	// KeyID is `keyId` of a signature: "ST$" and the token.
	KeyID   cambio.Secret
	Region  string // such as "us-ashburn-1"
	Tenancy string // OCID; empty: the domain did not say
	Expires time.Time
	Key     *rsa.PrivateKey
}

// parsed is the credential read last, and of what.
type parsed struct {
	of         *cambio.Credential
	credential Credential
}

// NewSession makes a session for the request, whose PublicKey it sets to that of the
// key. Nothing is asked of the server yet. The key has 2048 bits or more, and is the
// same for as long as the session lives: keep it over restarts, or make a new one.
func NewSession(client *cambio.Client, request cambio.Request, key *rsa.PrivateKey) (*Session, error) {
	switch {
	case client == nil:
		return nil, errors.New("oci: a session wants a client")
	case key == nil:
		return nil, errors.New("oci: a session wants a key: make one with NewKey")
	case key.N.BitLen() < keyBits:
		return nil, fmt.Errorf("oci: the key has %d bits: make one of %d or more", key.N.BitLen(), keyBits)
	case request.TokenType == cambio.TokenTypeOCISigningSession:
		return nil, errors.New("oci: a signing session has no key here: use NewSigningSession")
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("oci: the public key: %w", err)
	}
	request.PublicKey = public
	return &Session{source: client.TokenSource(request), key: key}, nil
}

// Source is where the session's tokens come from.
func (s *Session) Source() *cambio.TokenSource { return s.source }

// Current is what to sign with at this moment; it lives a minute yet, or half its life
// if that is less. It is an immutable snapshot.
func (s *Session) Current(ctx context.Context) (Credential, error) {
	c, err := s.source.AtLeast(ctx, sendLeft)
	if err != nil {
		return Credential{}, err
	}
	return s.of(c)
}

// of reads a credential of the source, once.
func (s *Session) of(c *cambio.Credential) (Credential, error) {
	if p := s.parsed.Load(); p != nil && p.of == c {
		return p.credential, nil
	}
	credential, err := Read(c)
	if err != nil {
		return Credential{}, err
	}
	credential.Key = s.key
	s.parsed.Store(&parsed{of: c, credential: credential})
	return credential, nil
}
