package oci

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// maxAnswer bounds an answer of the token endpoint in bytes.
const maxAnswer = 64 << 10

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
	answer, err := e.call(ctx, form)
	if err != nil {
		return "", err
	}
	if answer.status != http.StatusOK {
		return "", answer.refusal(e.now(), hidden)
	}
	if !answer.json() {
		return "", unusable(errors.New("it is no JSON"))
	}
	var body struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(answer.body, &body); err != nil || body.Token == "" {
		return "", unusable(errors.New("it has no token"))
	}
	return body.Token, nil
}

func (e *endpoint) call(ctx context.Context, form url.Values) (*answer, error) {
	signer, err := e.auth.signer(ctx)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "/token", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Length", strconv.FormatInt(request.ContentLength, 10)) // the signer reads it there
	client := e.client                                                                 // a copy, for the answer of this one call
	tee := &tee{http: e.http}
	client.HTTPClient, client.Signer = tee, signer
	response, err := client.Call(ctx, request)
	if response != nil {
		_ = response.Body.Close()
	}
	if tee.answer != nil { // the SDK's error quotes the body, ours does not
		return tee.answer, nil
	}
	if err == nil {
		err = errors.New("it did not answer")
	}
	if errors.Is(err, errTooLong) {
		return nil, unusable(err)
	}
	return nil, exchange.Fault(exchange.KindUnavailable, "the identity domain could not be reached; try again",
		fmt.Errorf("calling the identity domain: %w", err))
}

// tee is the SDK's way out: it calls by our client, and keeps the answer, of which
// the SDK makes an error without a reason.
type tee struct {
	http   *http.Client
	answer *answer
}

var errTooLong = fmt.Errorf("the answer has over %d bytes", maxAnswer)

// Do is one call.
func (t *tee) Do(r *http.Request) (*http.Response, error) {
	response, err := t.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it is read, or given up
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, errTooLong
	}
	t.answer = &answer{status: response.StatusCode, header: response.Header, body: body}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// answer is what the token endpoint said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) json() bool {
	media, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && media == "application/json"
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
