package oauth2_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange/provider/oauth2"
)

// tap keeps the latest form that went out.
type tap struct {
	next   http.RoundTripper
	form   url.Values
	header http.Header
}

func (p *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if p.form, err = url.ParseQuery(string(text)); err != nil {
		return nil, err
	}
	p.header = r.Header.Clone()
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(text))
	return p.next.RoundTrip(again)
}

// TestEachWordIsGoodOnce: what the driver sends serves one request. Sent again, or bent,
// or as what it is not, the server refuses it, and the driver never sends it twice.
func TestEachWordIsGoodOnce(t *testing.T) {
	y := newTown(t)
	p := &tap{next: y.deps.HTTP.Transport}
	y.deps.HTTP.Transport = p
	send := func(change func(url.Values)) int {
		t.Helper()
		form := url.Values{}
		for name, values := range p.form {
			form[name] = values
		}
		change(form)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, y.url+"/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = p.header
		answer, err := p.next.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	same := func(url.Values) {}
	for name, c := range map[string]struct {
		change func(*oauth2.Settings)
		word   string // the parameter that may not come again
	}{
		"its own key": {func(s *oauth2.Settings) {
			s.Auth, s.ClientSecret, s.KeyFile, s.KeyID = oauth2.AuthPrivateKeyJWT, "", y.keyFile, "k1"
		}, "client_assertion"},
		"the issuer's word": {func(s *oauth2.Settings) { s.Auth, s.ClientSecret, s.ClientID = oauth2.AuthPrivateKeyJWT, "", "" }, "client_assertion"},
		"token_exchange":    {func(s *oauth2.Settings) { s.Grant = oauth2.GrantTokenExchange }, "subject_token"},
		"jwt_bearer":        {func(s *oauth2.Settings) { s.Grant = oauth2.GrantJWTBearer }, "assertion"},
		"id_jag":            {func(s *oauth2.Settings) { s.Grant = oauth2.GrantIDJAG }, "assertion"},
	} {
		t.Run(name, func(t *testing.T) {
			s := y.settings(c.change)
			d := y.open(t, s)
			words := map[string]bool{}
			for range 3 {
				if _, err := d.Vend(t.Context(), y.grant(t, s)); err != nil {
					t.Fatal(err)
				}
				words[p.form.Get(c.word)] = true
			}
			if len(words) != 3 || words[""] {
				t.Errorf("%d words for three requests", len(words))
			}
			if status := send(same); status < 400 {
				t.Errorf("a second time: %d", status)
			}
			if status := send(func(f url.Values) { f.Set(c.word, f.Get(c.word)+"x") }); status < 400 {
				t.Errorf("bent: %d", status)
			}
		})
	}

	// The word for the client is none for a subject.
	s := y.settings(func(s *oauth2.Settings) { s.Auth, s.ClientSecret, s.ClientID = oauth2.AuthPrivateKeyJWT, "", "" })
	p.next = refusing{p.next}
	_, _ = y.vend(t, s)
	word := p.form.Get("client_assertion")
	p.next = p.next.(refusing).RoundTripper
	p.form = url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {word}}
	if status := send(same); word == "" || status < 400 {
		t.Errorf("as a subject's: %d", status)
	}
}

// refusing lets nothing through.
type refusing struct{ http.RoundTripper }

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
