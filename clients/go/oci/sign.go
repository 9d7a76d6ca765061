package oci

import (
	"context"
	"crypto/rsa"
	"errors"
	"net/http"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/origin"
)

// Sign signs a request as Oracle's services want it ("Request Signatures" in the
// documentation of OCI): it sets Date, Host, the digest and length of a body, and
// Authorization, over whatever stood there. The host is that of the URL, and https
// unless it is this machine. A body is read into memory; a content type that is not
// there becomes application/json, for it is signed.
func (s *Session) Sign(ctx context.Context, req *http.Request) error {
	if err := signable(req); err != nil {
		return err
	}
	credential, err := s.Current(ctx)
	if err != nil {
		return err
	}
	return sign(req, credential, s.source.Now())
}

// SignWith is Sign with a credential of Source, for who has chosen it already.
func (s *Session) SignWith(c *cambio.Credential, req *http.Request) error {
	if err := signable(req); err != nil {
		return err
	}
	credential, err := s.of(c)
	if err != nil {
		return err
	}
	return sign(req, credential, s.source.Now())
}

// signable reports whether a request can be signed and sent at all.
func signable(req *http.Request) error {
	switch {
	case req.URL == nil || req.URL.Host == "":
		return errors.New("oci: the request has no host: give its URL as https://host/path")
	case !origin.Safe(req.URL):
		return errors.New("oci: requests are signed for https, or for this machine: use an https URL")
	}
	return nil
}

func sign(req *http.Request, credential Credential, now time.Time) error {
	prepare(req)
	req.Header.Set("Date", now.UTC().Format(http.TimeFormat))
	return common.DefaultRequestSigner(snapshot{of: credential}).Sign(req)
}

// prepare takes away what an earlier signature, or another's, left behind.
func prepare(req *http.Request) {
	if req.Header == nil {
		req.Header = http.Header{}
	}
	for _, name := range []string{"Authorization", "X-Content-Sha256", "Host", "X-Date"} {
		req.Header.Del(name)
	}
	req.Host = req.URL.Host
	if hasBody(req.Method) && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
}

// hasBody reports whether signatures of a method cover the body.
func hasBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// snapshot is a Credential as the SDK's signer has it: both of its calls see one token
// and one key.
type snapshot struct{ of Credential }

func (s snapshot) PrivateRSAKey() (*rsa.PrivateKey, error) { return s.of.Key, nil }
func (s snapshot) KeyID() (string, error)                  { return s.of.KeyID.Reveal(), nil }
