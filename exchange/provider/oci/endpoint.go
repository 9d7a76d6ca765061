package oci

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// form is the request of the exchange. The key, the type and the resource are the
// target's and ours; nothing in it is a caller's, save the key.
func (d *driver) form(assertion exchange.Secret, key *rsa.PublicKey, life time.Duration) (url.Values, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	form := url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"requested_token_type": {string(d.settings.issues())},
		"subject_token":        {assertion.Reveal()},
		"subject_token_type":   {"jwt"}, // and no URN of RFC 8693 §3
		"public_key":           {base64.StdEncoding.EncodeToString(der)},
	}
	if d.settings.issues() == TokenTypeRPST {
		form.Set("res_type", d.settings.ResType)
		form.Set("rpst_exp", strconv.FormatInt(int64(life/time.Second), 10))
	}
	return form, nil
}

// endpoint is the domain's token endpoint. It is safe for concurrent use.
type endpoint struct {
	client common.BaseClient
	http   *http.Client
	auth   authentication
	now    func() time.Time
}

// authentication puts a proof of who we are on a request, by a signer of the SDK.
type authentication interface {
	signer(ctx context.Context) (common.HTTPRequestSigner, error)
}

func newEndpoint(s *Settings, host string, d provider.Deps) (*endpoint, error) {
	silence()
	e := &endpoint{client: common.DefaultBaseClientWithSigner(noSigner{}), http: d.HTTP, auth: &principal{kind: s.Signed}, now: d.Now}
	e.client.Host, e.client.BasePath, e.client.UserAgent = s.Domain, "oauth2/v1", "cambio"
	if s.Signed == "" {
		if d.Secret == nil {
			return nil, errors.New("client_secret: there are no secrets")
		}
		e.auth = &clientSecret{id: s.ClientID, secret: func() (exchange.Secret, error) { return d.Secret(s.ClientSecret, host) }}
		if _, err := d.Secret(s.ClientSecret, host); err != nil {
			return nil, fmt.Errorf("client_secret: %w", err)
		}
	}
	return e, nil
}

// post sends the form and returns the token of the answer.
func (e *endpoint) post(ctx context.Context, form url.Values, hidden ...exchange.Secret) (string, error) {
	a, err := e.call(ctx, form, hidden...)
	if err != nil {
		return "", err
	}
	if a.Status != http.StatusOK {
		return "", refusal(a)
	}
	var body struct {
		Token string `json:"token"`
	}
	if err := a.Decode(&body); err != nil {
		return "", err
	}
	if body.Token == "" {
		return "", a.Unusable(errors.New("it has no token"))
	}
	return body.Token, nil
}

// call asks by the SDK, which signs. The SDK's own errors quote the answer; what the
// tee saw does not.
func (e *endpoint) call(ctx context.Context, form url.Values, hidden ...exchange.Secret) (*provider.Answer, error) {
	signer, err := e.auth.signer(ctx)
	if err != nil {
		return nil, err
	}
	request, err := provider.PostForm(ctx, "/token", form)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Length", strconv.FormatInt(request.ContentLength, 10)) // the signer reads it there
	client := e.client                                                                 // a copy, for the answer of this one call
	tee := &tee{endpoint: e, hidden: hidden}
	client.HTTPClient, client.Signer = tee, signer
	response, err := client.Call(ctx, request)
	if response != nil {
		_ = response.Body.Close()
	}
	switch {
	case tee.answer != nil:
		return tee.answer, nil
	case tee.failure != nil:
		return nil, tee.failure
	case err == nil:
		err = errors.New("it was not called")
	}
	return nil, exchange.Fault(exchange.KindUnavailable, "the identity domain could not be reached; try again",
		fmt.Errorf("calling the identity domain: %w", err))
}

// tee is the SDK's way out for one call. It keeps the answer, of which the SDK makes
// an error without a reason.
type tee struct {
	*endpoint
	hidden  []exchange.Secret
	answer  *provider.Answer
	failure error
}

// Do is the call.
func (t *tee) Do(r *http.Request) (*http.Response, error) {
	if t.answer, t.failure = provider.Ask(t.http, r, t.now, t.hidden...); t.answer == nil {
		return nil, t.failure
	}
	return t.answer.Response(r), nil
}

// noSigner is for a client whose signer is set for each call.
type noSigner struct{}

// Sign does nothing.
func (noSigner) Sign(*http.Request) error { return nil }

// silence turns the SDK's own logging off for good: OCI_GO_SDK_DEBUG would print
// whole requests, with our assertion in them (S39).
var silence = sync.OnceFunc(func() { common.SetSDKLogger(silent{}) })

type silent struct{}

// LogLevel is none.
func (silent) LogLevel() int { return 0 }

// Log writes nothing.
func (silent) Log(int, string, ...any) error { return nil }
