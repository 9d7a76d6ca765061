package subject

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/cambio-sts/cambio/exchange"
)

// fetcher reads documents over HTTP with the roots of one file.
type fetcher struct {
	factory func(caFile string) (*http.Client, error)
	caFile  string

	mu     sync.Mutex
	client *http.Client
}

// open makes the client, so that a bad file of roots is found at load.
func (f *fetcher) open() (*http.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client == nil {
		client, err := f.factory(f.caFile)
		if err != nil {
			return nil, fmt.Errorf("making the HTTP client: %w", err)
		}
		f.client = client
	}
	return f.client, nil
}

// forget drops a client that failed: its roots may have been replaced on disk.
func (f *fetcher) forget(client *http.Client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client == client {
		f.client = nil
		client.CloseIdleConnections()
	}
}

// send performs one request and reads at most maxKeyDocument bytes of the answer.
func (f *fetcher) send(r *http.Request) (status int, body []byte, err error) {
	client, err := f.open()
	if err != nil {
		return 0, nil, err
	}
	response, err := client.Do(r)
	if err != nil {
		f.forget(client)
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.Request.URL.String() != r.URL.String() {
		return 0, nil, errors.New("the answer came by a redirect, which is not followed")
	}
	body, err = io.ReadAll(io.LimitReader(response.Body, maxKeyDocument+1))
	if err != nil {
		return 0, nil, err
	}
	if len(body) > maxKeyDocument {
		return 0, nil, fmt.Errorf("the answer is longer than %d bytes", maxKeyDocument)
	}
	return response.StatusCode, body, nil
}

// get reads one document. authorize, where given, may add a bearer token.
func (f *fetcher) get(ctx context.Context, address string, authorize func(*http.Request) error) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	// A kube-apiserver answers 406 for its JWK Set unless RFC 7517 §8.5.1's own type
	// is accepted, and others know application/json only.
	r.Header.Set("Accept", "application/json, application/jwk-set+json")
	if authorize != nil {
		if err := authorize(r); err != nil {
			return nil, err
		}
	}
	status, body, err := f.send(r)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("reading %s: status %d", address, status)
	}
	return body, nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return content, nil
}

// readBearer reads a token file, which the kubelet replaces now and then.
func readBearer(name string) (string, error) {
	content, err := readFile(name, maxToken)
	if err != nil {
		return "", fmt.Errorf("reading the bearer token: %w", err)
	}
	content = bytes.TrimSpace(content)
	if len(content) == 0 || bytes.ContainsAny(content, " \t\r\n") {
		return "", fmt.Errorf("reading the bearer token: %s does not hold one token", name)
	}
	return string(content), nil
}

// checkURL admits https, and http to this machine only (a development issuer).
// Addresses are checked again when dialled, by the client (S24).
func checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("it is not a URL")
	case u.Host == "" || u.Opaque != "":
		return errors.New("it has no host")
	case u.User != nil:
		return errors.New("it must not hold a user or a password")
	case u.Fragment != "" || strings.Contains(address, "#"):
		return errors.New("it must not have a fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && exchange.LoopbackHost(u.Hostname()):
		return nil
	}
	return errors.New("it must begin with https://")
}
