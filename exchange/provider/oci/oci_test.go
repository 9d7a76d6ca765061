package oci_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
	"github.com/cambio-sts/cambio/exchange/provider/oci/ocisandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// caller is a caller with Oracle's SDK: the token that it was given, and its own
// key.
type caller struct {
	keyID string
	key   *rsa.PrivateKey
}

func (c caller) KeyID() (string, error)                  { return c.keyID, nil }
func (c caller) PrivateRSAKey() (*rsa.PrivateKey, error) { return c.key, nil }

// call sends a request by the SDK's own client.
func (d *desk) call(t testing.TB, by caller, method, path, body string) (int, []byte) {
	t.Helper()
	client := common.DefaultBaseClientWithSigner(common.DefaultRequestSigner(by))
	client.Host, client.HTTPClient = d.server.URL, d.server.Client()
	request, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		request.Body, request.ContentLength = nil, 0
	} else {
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Content-Length", fmt.Sprint(len(body)))
	}
	response, err := client.Call(t.Context(), request)
	if response == nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, text
}

const chat = `{"compartmentId":"ocid1.compartment.oc1..x","servingMode":{"servingType":"ON_DEMAND","modelId":"meta.llama-3.3-70b-instruct"},"chatRequest":{"apiFormat":"GENERIC","messages":[{"role":"USER","content":[{"type":"TEXT","text":"who am I?"}]}]}}`

// honour asks Object Storage by GET and Generative AI by POST, as the SDK does.
func (d *desk) honour(t *testing.T, c exchange.Credential) (string, []string, error) {
	v := read(t, c)
	by := caller{v.KeyID, makeKey(2048)}
	status, text := d.call(t, by, http.MethodGet, "/n/", "")
	var name string
	if status != http.StatusOK || json.Unmarshal(text, &name) != nil {
		return "", nil, fmt.Errorf("GET is answered %d", status)
	}
	status, text = d.call(t, by, http.MethodPost, "/20231130/actions/chat", chat)
	if status != http.StatusOK || !bytes.Contains(text, []byte("You are "+name+".")) {
		return "", nil, fmt.Errorf("POST is answered %d", status)
	}
	return subjectOf(name), nil, nil
}

func (d *desk) harness(t *testing.T) providertest.Harness {
	mood := func(m sandbox.Mood) func(*testing.T) func() {
		return func(*testing.T) func() { return d.sandbox.Weather.Set(m) }
	}
	return providertest.Harness{
		Provider: "oci", Config: d.settings, Deps: d.deps, PublicKey: spki(t, makeKey(2048).Public()),
		Type: d.settings.Facts().Types[0], Honour: d.honour,
		Fail: map[exchange.Kind]func(*testing.T) func(){
			exchange.KindUnavailable:     mood(sandbox.Down),
			exchange.KindThrottled:       mood(sandbox.Throttling),
			exchange.KindProviderRefused: mood(sandbox.Refusing),
			exchange.KindMisconfigured: func(*testing.T) func() {
				before := clientSecret
				clientSecret = exchange.NewSecret("vended-secret-of yesterday")
				return func() { clientSecret = before }
			},
		},
		Hang: mood(sandbox.Slow),
	}
}

func TestSuiteRPST(t *testing.T) {
	d := newDesk(t)
	providertest.Run(t, d.harness(t))
}

func TestSuiteUPST(t *testing.T) {
	d := newDesk(t, func(_ *ocisandbox.Setup, s *oci.Settings) { s.Token, s.ResType = "upst", "" })
	providertest.Run(t, d.harness(t))
}

// TestWeather: whatever the domain does, the driver says what it was, and hands out
// nothing.
func TestWeather(t *testing.T) {
	d := newDesk(t)
	for mood, want := range map[sandbox.Mood]exchange.Kind{
		sandbox.Down: exchange.KindUnavailable, sandbox.HTML: exchange.KindUnavailable, sandbox.Huge: exchange.KindUnavailable,
		sandbox.Redirecting: exchange.KindMisconfigured, // a client that follows finds nothing there; Cambio's does not follow
		sandbox.Throttling:  exchange.KindThrottled, sandbox.Refusing: exchange.KindProviderRefused,
		sandbox.WithoutExpiry: exchange.KindUnavailable, sandbox.PastExpiry: exchange.KindUnavailable,
	} {
		restore := d.sandbox.Weather.Set(mood)
		c, err := d.vend(t)
		restore()
		if !c.Value.IsZero() || exchange.KindOf(err) != want {
			t.Errorf("mood %d: %v", mood, err)
		}
		var e *exchange.Error
		if errors.As(err, &e) && want == exchange.KindThrottled && e.RetryAfter != 7*time.Second {
			t.Errorf("Retry-After is taken for %v", e.RetryAfter)
		}
	}
}

// TestWhatIsVended: the value has all that a caller needs, and nothing that is not
// its own.
func TestWhatIsVended(t *testing.T) {
	d := newDesk(t, func(_ *ocisandbox.Setup, s *oci.Settings) {
		s.Subject, s.Claims = []string{"namespace"}, map[string]string{"ext_who": "subject"}
	})
	c, err := d.vend(t)
	if err != nil {
		t.Fatal(err)
	}
	v := read(t, c)
	if v.KeyID != "ST$"+v.Token || v.Region != "us-ashburn-1" || v.Tenancy != ocisandbox.DefaultTenancy ||
		v.Expires != c.Expires.UTC().Format(time.RFC3339) || c.TokenType != "N_A" || c.IssuedType != oci.TokenTypeRPST {
		t.Errorf("region %s, tenancy %s, until %s, %s as %s", v.Region, v.Tenancy, v.Expires, c.IssuedType, c.TokenType)
	}
	if !c.RevokeWith.IsZero() {
		t.Error("nothing revokes it, and it says that something does")
	}
	claims := claimsOf(t, v.Token)
	if claims["sub"] != "default:suite:llm" || claims["ext"].(map[string]any)["ext_who"] != "k8s:prod:llm:gateway" || claims["jti"] != c.Handle {
		t.Errorf("issued for %v, with %v, id %v", claims["sub"], claims["ext"], claims["jti"])
	}
	if _, err := d.vend(t, func(g *exchange.Grant) { g.Subject.Attributes = nil }); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("without the attribute: %v", err)
	}
}

// TestPublicKeys: what is no public RSA key of a safe size is refused, with what to
// send.
func TestPublicKeys(t *testing.T) {
	d := newDesk(t)
	for name, der := range badKeys(t) {
		_, err := d.vend(t, func(g *exchange.Grant) { g.PublicKey = der })
		var e *exchange.Error
		if !errors.As(err, &e) || e.Kind != exchange.KindInvalidRequest || !strings.Contains(e.Advice, "public_key") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d.sandbox.Weather.Calls() != 0 {
		t.Error("the domain was asked")
	}
	if _, err := d.vend(t, func(g *exchange.Grant) { g.PublicKey = spki(t, makeKey(3072).Public()) }); err != nil {
		t.Error(err)
	}
	if _, err := d.vend(t, func(g *exchange.Grant) { g.Type = oci.TokenTypeSession }); exchange.KindOf(err) != exchange.KindInvalidRequest {
		t.Errorf("a session where there are none: %v", err)
	}
}

// TestS5AsksForNoMore: rpst_exp, or the assertion's own life, is within every cap,
// and what would not live a second is refused.
func TestS5AsksForNoMore(t *testing.T) {
	for _, token := range []string{"rpst", "upst"} {
		d := newDesk(t, func(_ *ocisandbox.Setup, s *oci.Settings) {
			if s.Token = token; token == "upst" {
				s.ResType = ""
			}
			s.MaxTTL = 9 * time.Minute
		})
		for _, c := range []struct{ lifetime, notAfter, most time.Duration }{
			{time.Hour, time.Hour, 9 * time.Minute},
			{0, time.Hour, 9 * time.Minute},
			{5 * time.Minute, time.Hour, 5 * time.Minute},
			{time.Hour, 2 * time.Minute, 2 * time.Minute},
			{time.Hour, 4 * time.Second, 4 * time.Second},
			{time.Hour, time.Second, 0},
			{time.Hour, -time.Minute, 0},
		} {
			got, err := d.vend(t, func(g *exchange.Grant) { g.Lifetime, g.NotAfter = c.lifetime, g.Now.Add(c.notAfter) })
			switch {
			case c.most == 0:
				if exchange.KindOf(err) != exchange.KindInvalidLifetime {
					t.Errorf("%s %+v: %v", token, c, err)
				}
			case err != nil || got.Expires.Sub(got.Issued) > c.most || c.most > time.Minute && got.Expires.Sub(got.Issued) < c.most/2:
				t.Errorf("%s %+v: it lives %v: %v", token, c, got.Expires.Sub(got.Issued), err)
			}
		}
	}
	d := newDesk(t, func(_ *ocisandbox.Setup, s *oci.Settings) { s.MinTTL = 10 * time.Minute })
	brief := func(g *exchange.Grant) { g.NotAfter = g.Now.Add(5 * time.Minute) }
	if _, err := d.vend(t, brief); exchange.KindOf(err) != exchange.KindInvalidLifetime {
		t.Errorf("shorter than the domain gives: %v", err)
	}
	d.settings.MayOutlive = true
	if c, err := d.vend(t, brief); err != nil || c.Expires.Sub(c.Issued) < 9*time.Minute {
		t.Errorf("where it may outlive: %v", err)
	}
}

// TestSetUpWrongly: each fault of the set-up is told apart, with the setting to look
// at, and without the assertion.
func TestSetUpWrongly(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ocisandbox.Setup, *oci.Settings)
		bend   map[string]any
		kind   exchange.Kind
		says   string
	}{
		"another client":       {func(_ *ocisandbox.Setup, s *oci.Settings) { s.ClientID = "other" }, nil, exchange.KindMisconfigured, "client_id"},
		"another resource":     {func(_ *ocisandbox.Setup, s *oci.Settings) { s.ResType = "other" }, nil, exchange.KindMisconfigured, "res_type"},
		"no trust for rpst":    {func(s *ocisandbox.Setup, _ *oci.Settings) { s.Trust.ImpersonatingResource = "" }, nil, exchange.KindMisconfigured, "oauthClients"},
		"no rule for the user": {func(b *ocisandbox.Setup, s *oci.Settings) { s.Token, s.ResType, b.Trust.Impersonate = "upst", "", nil }, nil, exchange.KindProviderRefused, "rules"},
		"another audience":     {func(_ *ocisandbox.Setup, s *oci.Settings) { s.Audience = "x" }, nil, exchange.KindProviderRefused, "claims"},
		"another issuer":       {func(*ocisandbox.Setup, *oci.Settings) {}, map[string]any{"iss": "https://elsewhere.example"}, exchange.KindProviderRefused, "issuer"},
	} {
		d := newDesk(t, c.change)
		d.notary.bend = c.bend
		_, err := d.vend(t)
		var e *exchange.Error
		if !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(e.Advice, c.says) || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := newDesk(t)
	d.settings.Domain = "https://127.0.0.1:1"
	d.deps.Secret = func(provider.SecretRef, string) (exchange.Secret, error) { return clientSecret, nil }
	if _, err := d.vend(t); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("nobody there: %v", err)
	}
	d = newDesk(t)
	d.settings.ClientSecret = "${secret:elsewhere}"
	if _, err := d.settings.Open(d.deps); err == nil || !strings.Contains(err.Error(), "client_secret") {
		t.Errorf("a secret that is not for this host (S20): %v", err)
	}
}

// TestCheck proves the set-up without a token.
func TestCheck(t *testing.T) {
	d := newDesk(t)
	check := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return d.open(t).(provider.Checker).Check(ctx)
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	for mood, want := range map[sandbox.Mood]exchange.Kind{
		sandbox.Down: exchange.KindUnavailable, sandbox.HTML: exchange.KindMisconfigured, sandbox.Throttling: exchange.KindThrottled,
	} {
		restore := d.sandbox.Weather.Set(mood)
		if err := check(); exchange.KindOf(err) != want {
			t.Errorf("mood %d: %v", mood, err)
		}
		restore()
	}
	d.settings.ClientID = "other"
	if err := check(); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("another client: %v", err)
	}
}

// TestSubjectsNeverMix: many at once, each with its own token for its own name.
func TestSubjectsNeverMix(t *testing.T) {
	d := newDesk(t)
	driver := d.open(t)
	done := make(chan error)
	const many = 64
	for n := range many {
		name := fmt.Sprintf("k8s:prod:llm:s%d", n)
		g := d.grant(t, func(g *exchange.Grant) { g.Subject.Name = name })
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
			defer cancel()
			c, err := driver.Vend(ctx, g)
			if err == nil && subjectOf(claimsOf(t, read(t, c).Token)["sub"].(string)) != name {
				err = errors.New(name + " has another's token")
			}
			done <- err
		}()
	}
	for range many {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
