// Package outbound makes the HTTP clients by which Cambio talks to anyone: to
// issuers for their keys, to clusters for reviews, to clouds for credentials.
//
// Where a request might steer an address, however far away (a token's issuer, a
// resource's host, a name that resolves anew), the client looks at the address
// that is really dialled and refuses what lies on this machine or on its link,
// the metadata services first of all (S24). It follows no redirect, obeys no
// proxy variable and reads no more than it was told to.
package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"
)

// The defaults of Options.
const (
	DefaultTimeout  = 10 * time.Second
	DefaultMaxBytes = 1 << 20
)

// What a client refuses. Errors of calls wrap these, inside *url.Error. Those of the
// first three name what is refused and the setting that would allow it, and have the
// methods NotSent() bool and RetryableError() bool.
var (
	// ErrHost: Options.Allow has no pattern for the host.
	ErrHost = errors.New("the host is not in the outbound allow-list")
	// ErrAddress: the host's address is one that must not be dialled.
	ErrAddress = errors.New("the address must not be dialled")
	// ErrPlaintext: http where https is asked for.
	ErrPlaintext = errors.New("plain http is refused")
	// ErrRedirect: the server answered with a redirect.
	ErrRedirect = errors.New("redirects are refused")
	// ErrTooLarge: the answer is longer than Options.MaxBytes.
	ErrTooLarge = errors.New("the answer is too large")
)

// Options say where a client may go and how much it may bring.
type Options struct {
	// Allow lists host patterns, `*` standing for any run of characters; ["*"]
	// allows every host. Empty is an error: nothing could be reached.
	Allow []string
	// CAFile holds PEM roots that replace the system's; empty: the system's.
	CAFile string
	// SystemRoots keeps the system's roots beside those of CAFile.
	SystemRoots bool
	// AllowLoopback permits 127.0.0.0/8 and ::1, plain http among it.
	AllowLoopback bool
	// AllowAddresses permits ranges that are otherwise refused.
	AllowAddresses []netip.Prefix
	// AllowPlaintext permits http to every host. Without it http is refused, save
	// to a loopback address.
	AllowPlaintext bool
	// Timeout bounds a whole call, the reading of its answer included; zero:
	// DefaultTimeout.
	Timeout time.Duration
	// MaxBytes bounds the body of an answer; past it reading fails with
	// ErrTooLarge and is never cut silently. Zero: DefaultMaxBytes.
	MaxBytes int64
	// Certificate is shown to servers that ask for one, and is asked for at each
	// handshake; nil: none is shown.
	Certificate func() (*tls.Certificate, error)
	// Resolver looks names up; nil: the system's.
	Resolver *net.Resolver
}

// Client makes a client. It is safe for concurrent use and keeps connections
// alive; a caller makes one per purpose, not per call.
func Client(o Options) (*http.Client, error) {
	if len(o.Allow) == 0 {
		return nil, errors.New(`the outbound allow-list is empty: name hosts, or "*" for every host`)
	}
	hosts, err := newHosts(o.Allow)
	if err != nil {
		return nil, err
	}
	roots, err := rootsOf(o)
	if err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	gate := addressGate{loopback: o.AllowLoopback, allow: o.AllowAddresses}
	dialer := &net.Dialer{
		Timeout:        min(o.Timeout, 5*time.Second),
		KeepAlive:      30 * time.Second,
		Resolver:       o.Resolver,
		ControlContext: gate.control,
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if o.Certificate != nil {
		secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Certificate() }
	}
	transport := &http.Transport{
		Proxy:                  nil, // HTTPS_PROXY and its kin would be dialled in the host's stead
		DialContext:            dialer.DialContext,
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    min(o.Timeout, 5*time.Second),
		ResponseHeaderTimeout:  o.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // what is counted is what was sent
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    32,
		IdleConnTimeout:        90 * time.Second,
	}
	return &http.Client{
		Transport: &guard{next: transport, hosts: hosts, plaintext: o.AllowPlaintext, max: o.MaxBytes},
		Timeout:   o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return ErrRedirect // the guard has refused already; this is the second lock
		},
	}, nil
}

func rootsOf(o Options) (*x509.CertPool, error) {
	if o.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if o.SystemRoots {
		if pool, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("reading the system's roots: %w", err)
		}
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the CA file %s holds no PEM certificate", o.CAFile)
	}
	return pool, nil
}
