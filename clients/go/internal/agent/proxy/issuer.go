package proxy

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	cambio "github.com/cambio-sts/cambio/clients/go"
	cambioaws "github.com/cambio-sts/cambio/clients/go/aws"
	"github.com/cambio-sts/cambio/clients/go/oci"
)

// sendLeft is how long a credential lives at least when it is sent: a request takes
// time, and clocks differ.
const sendLeft = time.Minute

// issuer is where a route's credential comes from, and how it goes on a request.
type issuer struct {
	source *cambio.TokenSource
	put    func(ctx context.Context, req *http.Request, body []byte, c *cambio.Credential) error
}

// mint makes issuers. It is all that they depend on beside the request, so that they may
// outlive the route that asked for them first.
type mint struct {
	client *cambio.Client
	auth   *Auth
	key    *rsa.PrivateKey // of OCI signatures
	now    func() time.Time
}

// issuer makes what an Auth says, of a source, or of a request where there is a key to
// bind to.
func (m *mint) issuer(request cambio.Request) (*issuer, error) {
	switch {
	case m.auth.OCI != nil:
		session, err := oci.NewSession(m.client, request, m.key)
		if err != nil {
			return nil, err
		}
		return &issuer{source: session.Source(), put: func(_ context.Context, req *http.Request, _ []byte, c *cambio.Credential) error {
			return session.SignWith(c, req)
		}}, nil
	case m.auth.AWS != nil:
		return &issuer{source: m.client.TokenSource(request), put: m.signAWS}, nil
	case m.auth.Header != "":
		return &issuer{source: m.client.TokenSource(request), put: func(_ context.Context, req *http.Request, _ []byte, c *cambio.Credential) error {
			return putHeader(req, m.auth.Header, "", c)
		}}, nil
	}
	return &issuer{source: m.client.TokenSource(request), put: func(_ context.Context, req *http.Request, _ []byte, c *cambio.Credential) error {
		return putHeader(req, "Authorization", "Bearer ", c)
	}}, nil
}

// putHeader sends what is one text: a token, a key of a Vault, an ID token.
func putHeader(req *http.Request, name, scheme string, c *cambio.Credential) error {
	switch {
	case !strings.EqualFold(c.Type, "Bearer") && c.IssuedTokenType != cambio.TokenTypeSecret && c.IssuedTokenType != cambio.TokenTypeIDToken:
		return refuse(http.StatusBadGateway, "wrong_credential", "the target gives %s, which is no token: set auth of the route, or another target", c.IssuedTokenType)
	case strings.ContainsFunc(c.Value.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }):
		return refuse(http.StatusBadGateway, "wrong_credential", "the target's value is no token: it holds blanks, or more than ASCII")
	}
	req.Header.Set(name, scheme+c.Value.Reveal())
	return nil
}

// signAWS signs a request whose body is given, or with UnsignedPayload one that streams.
func (m *mint) signAWS(ctx context.Context, req *http.Request, body []byte, c *cambio.Credential) error {
	credentials, err := cambioaws.Read(c)
	if err != nil {
		return refuse(http.StatusBadGateway, "wrong_credential", "%v", err)
	}
	hash := "UNSIGNED-PAYLOAD"
	if !m.auth.AWS.UnsignedPayload {
		sum := sha256.Sum256(body)
		hash = hex.EncodeToString(sum[:])
	}
	s3 := strings.HasPrefix(m.auth.AWS.Service, "s3")
	if s3 || m.auth.AWS.UnsignedPayload {
		req.Header.Set("X-Amz-Content-Sha256", hash)
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = s3 })
	if err := signer.SignHTTP(ctx, credentials, req, hash, m.auth.AWS.Service, m.auth.AWS.Region, m.now().UTC()); err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	return nil
}

// rejected reports whether an answer says that the credential is no longer good. AWS
// says so by 403 and the name of the error.
func (t *route) rejected(resp *http.Response) bool {
	if t.auth.AWS == nil {
		return resp.StatusCode == http.StatusUnauthorized
	}
	name, _, _ := strings.Cut(resp.Header.Get("X-Amzn-Errortype"), ":")
	switch name {
	case "ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId":
		return true
	}
	return resp.StatusCode == http.StatusUnauthorized
}
