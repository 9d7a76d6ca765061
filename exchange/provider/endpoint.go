package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/exchange"
)

// maxAnswer bounds an answer in bytes: the longest token that a provider is known to
// give has 12 KiB.
const maxAnswer = 256 << 10

// What Ask answers, inside an *exchange.Error, to a status of 200 without JSON.
var (
	ErrPage    = errors.New("a page stands in place of JSON") // for a person to read
	ErrNotJSON = errors.New("it is no JSON")                  // anything else, or nothing
)

// Answer is what a provider's endpoint answered.
type Answer struct {
	Status int
	Header http.Header
	host   string
	body   []byte
	sent   []exchange.Secret
	now    time.Time
}

// Ask makes one call of an endpoint that speaks JSON, and reads the answer whole,
// within bounds. sent are the secrets that the request carries: whatever is told of
// the answer is without them. An error is an *exchange.Error; a redirect, a page in
// place of JSON and a status of 429 or over 499 are errors too, whatever the
// provider. With an error of such a status the answer is there as well, for a driver
// that reads more from it. What the house does not let out is Barred.
func Ask(client *http.Client, r *http.Request, now func() time.Time, sent ...exchange.Secret) (*Answer, error) {
	r.Header.Set("Accept", "application/json")
	if r.Header.Get("User-Agent") == "" { // an SDK says more
		r.Header.Set("User-Agent", "cambio")
	}
	response, err := client.Do(r)
	if barred := Barred(err); barred != nil {
		return nil, barred
	}
	if err != nil {
		return nil, exchange.Fault(exchange.KindUnavailable, "the provider could not be reached; try again",
			fmt.Errorf("asking %s: %w", r.URL.Hostname(), withoutURL(err)))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, exchange.Fault(exchange.KindUnavailable, "the provider's answer broke off; try again", withoutURL(err))
	}
	a := &Answer{Status: response.StatusCode, Header: response.Header, host: r.URL.Hostname(), body: body, sent: sent, now: now()}
	media, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	switch {
	case len(body) > maxAnswer:
		return nil, a.Unusable(fmt.Errorf("it has over %d bytes", maxAnswer))
	case a.Status == http.StatusTooManyRequests:
		return a, a.Fault(exchange.KindThrottled, "the provider is asked too often; try again later")
	case a.Status >= 500:
		return a, a.Fault(exchange.KindUnavailable, "the provider is not well; try again")
	case a.Status >= 300 && a.Status < 400:
		return nil, a.Unusable(errors.New("it is a redirect"))
	case a.Status == http.StatusOK && media != "application/json":
		kind := ErrNotJSON
		if media == "text/html" {
			kind = ErrPage
		}
		return nil, a.Unusable(fmt.Errorf("%w: it is %q", kind, Clean(media, nil)))
	}
	return a, nil
}

// withoutURL drops the URL that http.Client puts around errors: it may hold names
// that are for the operator's settings alone, and says nothing new.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// Response is the answer as an SDK reads it, whose transport asked for it.
func (a *Answer) Response(r *http.Request) *http.Response {
	return &http.Response{
		Status: fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status)), StatusCode: a.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.Header.Clone(), Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: r,
	}
}

// RetryAfter is when the answer asks to be asked again; zero: it does not say.
func (a *Answer) RetryAfter() time.Duration { return RetryAfter(a.Header, a.now) }

// Decode reads a good answer's JSON object into a struct.
func (a *Answer) Decode(into any) error {
	if err := json.Unmarshal(a.body, into); err != nil {
		return a.Unusable(errors.New("its JSON is not of the form that was expected"))
	}
	return nil
}

// Unusable says that a provider answered with what nobody can use. The cause must
// hold nothing of the answer.
func (a *Answer) Unusable(cause error) *exchange.Error {
	return exchange.Fault(exchange.KindUnavailable, "the provider's answer cannot be used; try again",
		fmt.Errorf("the answer of %s has status %d: %w", a.host, a.Status, cause))
}

// OAuthError is the error of RFC 6749 §5.2, where the answer holds one.
func (a *Answer) OAuthError() (code, description string) {
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(a.body, &said) != nil {
		return "", ""
	}
	return Clean(said.Error, a.sent), Clean(said.Description, a.sent)
}

// Fault is an error of the kind, with what the provider said for the log.
func (a *Answer) Fault(kind exchange.Kind, advice string) *exchange.Error {
	code, description := a.OAuthError()
	said := strings.Trim(code+": "+description, ": ")
	if said == "" {
		said = Clean(string(a.body), a.sent)
	}
	e := exchange.Fault(kind, advice, fmt.Errorf("the provider answered %d: %s", a.Status, said))
	if kind == exchange.KindThrottled || kind == exchange.KindUnavailable {
		e.RetryAfter = a.RetryAfter()
	}
	return e
}

// Expiry is when a token dies that lives so many seconds from now on, rounded down
// to what can be relied on. A lifetime that is no lifetime is an error.
func (a *Answer) Expiry(expiresIn int64, from time.Time) (time.Time, error) {
	const most = 366 * 24 * 3600
	if expiresIn <= 0 || expiresIn > most {
		return time.Time{}, a.Unusable(errors.New("it does not say how long the token lives"))
	}
	return from.Add(time.Duration(expiresIn) * time.Second), nil
}

// PostJSON is a request with a JSON object, for Ask.
func PostJSON(ctx context.Context, address string, object any) (*http.Request, error) {
	body, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("encoding a request: %w", err)
	}
	return post(ctx, address, "application/json", body)
}

// PostForm is a request with a form, for Ask.
func PostForm(ctx context.Context, address string, form url.Values) (*http.Request, error) {
	return post(ctx, address, "application/x-www-form-urlencoded", []byte(form.Encode()))
}

func post(ctx context.Context, address, media string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	r.Header.Set("Content-Type", media)
	return r, nil
}

// maxSaid bounds what is told of an answer, in bytes.
const maxSaid = 300

// Clean makes a text from outside fit for a log: one line, bounded, without what was
// sent.
func Clean(text string, sent []exchange.Secret) string {
	for _, s := range sent {
		if !s.IsZero() {
			text = strings.ReplaceAll(text, s.Reveal(), s.String())
		}
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxSaid {
		text = strings.ToValidUTF8(text[:maxSaid], "") + "…"
	}
	return text
}

// CheckEndpoint holds a setting to https, a host in lower case, and no more than a
// path. A vendor's own endpoints and stand-ins alike are so.
func CheckEndpoint(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("%q is not https://, a host, and at most a path", address)
	case u.String() != address || strings.ToLower(u.Host) != u.Host || strings.HasSuffix(address, "/"):
		return fmt.Errorf("%q is not in canonical form: write the host in lower case and no slash at the end", address)
	}
	return nil
}
