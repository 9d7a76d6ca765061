package azure

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxAnswer bounds an answer in bytes. A token with many groups has some 10 KiB.
const maxAnswer = 256 << 10

// documentLife is how long the authority's discovery document is kept: a fresh
// credential for each vending would fetch it each time.
const documentLife = time.Hour

// wire is the way to one authority, for all credentials of a driver.
type wire struct {
	client    *http.Client
	authority string // host[:port], lower case
	now       func() time.Time

	mu       sync.Mutex
	document []byte // OpenID configuration
	until    time.Time
}

// call is one credential's use of the wire. It remembers what went wrong, since
// azidentity turns most of that into text.
type call struct {
	*wire
	correlation string // sent along, and shown in the sign-in log
	failure     error
	refused     *refusal
}

const discoveryPath = "/v2.0/.well-known/openid-configuration"

// Do is policy.Transporter. It speaks to the authority alone: the discovery document
// could name any token endpoint, and an assertion goes to none but its own (S1).
func (c *call) Do(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || !strings.EqualFold(r.URL.Host, c.authority) {
		return nil, c.fail(fmt.Errorf("the authority sends us to %s: tokens are asked of %s alone", r.URL.Hostname(), c.authority))
	}
	discovery := r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, discoveryPath)
	if discovery {
		if known := c.known(); known != nil {
			return answerOf(r, known), nil
		}
	}
	if c.correlation != "" {
		r.Header.Set("client-request-id", c.correlation)
	}
	answer, err := c.client.Do(r)
	if err != nil {
		return nil, c.fail(withoutURL(err))
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	_ = answer.Body.Close()
	if err != nil {
		return nil, c.fail(fmt.Errorf("reading Entra's answer: %w", err))
	}
	switch {
	case len(body) > maxAnswer:
		return nil, c.fail(fmt.Errorf("the answer has over %d bytes", maxAnswer))
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return nil, c.fail(fmt.Errorf("the answer is %d, a redirect", answer.StatusCode))
	case answer.StatusCode != http.StatusOK:
		c.refused = readRefusal(answer.StatusCode, answer.Header, body, c.now())
	case !json.Valid(body):
		return nil, c.fail(errors.New("the answer is not JSON"))
	case discovery:
		c.keep(body)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

func (c *call) fail(err error) error {
	c.failure = err
	return err
}

// verdict is what to tell where azidentity fails: what was seen on the wire. Its own
// error holds whole answers.
func (c *call) verdict(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("asking Entra: %w", ctx.Err())
	case c.failure != nil:
		return c.failure
	case c.refused != nil:
		return c.refused
	}
	return errors.New("the answer lacks what azidentity asks of one")
}

// withoutURL drops the URL that http.Client puts around errors.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("reaching Entra: %w", u.Err)
	}
	return fmt.Errorf("reaching Entra: %w", err)
}

func answerOf(r *http.Request, body []byte) *http.Response {
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)), Request: r,
	}
}

func (w *wire) known() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.now().Before(w.until) {
		return nil
	}
	return w.document
}

// keep remembers the document if it is usable: what leads elsewhere is asked for
// anew until somebody has repaired it.
func (w *wire) keep(body []byte) {
	var document struct {
		Authorization string `json:"authorization_endpoint"`
		Token         string `json:"token_endpoint"`
		Issuer        string `json:"issuer"`
	}
	if json.Unmarshal(body, &document) != nil || document.Authorization == "" || document.Issuer == "" {
		return
	}
	if u, err := url.Parse(document.Token); err != nil || u.Scheme != "https" || !strings.EqualFold(u.Host, w.authority) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.document, w.until = body, w.now().Add(documentLife)
}
