package aws_test

import (
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/aws"
	"github.com/cambio-sts/cambio/exchange/provider/aws/awssandbox"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// TestRefusals: whatever is not set up at AWS is told apart, and the log names the
// setting to change.
func TestRefusals(t *testing.T) {
	otherKey := newAsserter(t).key
	for name, c := range map[string]struct {
		yard     func(*awssandbox.Setup)
		settings func(*aws.Settings)
		after    func(*testing.T, *yard)
		grant    func(*exchange.Grant)
		kind     exchange.Kind
		says     string
	}{
		"no such role": {kind: exchange.KindProviderRefused, says: "role_arn: ",
			settings: func(s *aws.Settings) { s.RoleARN += "-other" }},
		"another sub": {kind: exchange.KindProviderRefused, says: "trust policy does not admit",
			grant: func(g *exchange.Grant) { g.Target.Name = "other" }},
		"no tags allowed": {kind: exchange.KindProviderRefused, says: "sts:TagSession",
			yard: func(s *awssandbox.Setup) { s.Roles[0].Trust = trustOf("sts.amazonaws.com", "default:suite", false) }},
		"no source identity allowed": {kind: exchange.KindProviderRefused, says: "sts:SetSourceIdentity",
			yard:     func(s *awssandbox.Setup) { s.Roles[0].Trust = trustOf("sts.amazonaws.com", "default:suite", false) },
			settings: func(s *aws.Settings) { s.Tags, s.SourceIdentity = nil, &aws.Source{From: "subject"} }},
		"no OIDC provider": {kind: exchange.KindMisconfigured, says: "no IAM OIDC provider",
			yard: func(s *awssandbox.Setup) { s.Audiences = []string{} }},
		"another client id": {kind: exchange.KindMisconfigured, says: `client id "sts.amazonaws.com"`,
			yard: func(s *awssandbox.Setup) { s.Audiences = []string{"cambio"} }},
		"another key is published": {kind: exchange.KindMisconfigured, says: "cannot verify",
			after: func(t *testing.T, y *yard) { y.issuer.publish(t, otherKey) }},
		"the keys cannot be reached": {kind: exchange.KindUnavailable, says: "issuer: STS cannot reach",
			after: func(t *testing.T, y *yard) { y.issuer.publish(t, nil) }},
		"a clock that is late": {kind: exchange.KindMisconfigured, says: "clock: ",
			after: func(_ *testing.T, y *yard) {
				y.deps.Now = func() time.Time { return time.Now().Add(-time.Hour) }
			}},
		"over the role's maximum": {kind: exchange.KindMisconfigured, says: "max_session: ",
			yard: func(s *awssandbox.Setup) { s.Roles[0].MaxSession = time.Hour },
			grant: func(g *exchange.Grant) {
				g.Lifetime, g.NotAfter = 2*time.Hour, g.Now.Add(2*time.Hour)
			}},
		"an unknown managed policy": {kind: exchange.KindMisconfigured, says: "policy: ",
			settings: func(s *aws.Settings) { s.PolicyARNs = []string{"arn:aws:iam::aws:policy/Nothing"} }},
		"too much together": {kind: exchange.KindMisconfigured, says: "packed",
			settings: func(s *aws.Settings) {
				for n := range 20 {
					s.Tags[strings.Repeat("k", n+1)] = aws.Source{Fixed: strings.Repeat("v", 250)}
				}
			}},
		"a subject without the attribute": {kind: exchange.KindMisconfigured, says: "tags.ns: ",
			settings: func(s *aws.Settings) { s.Tags["ns"] = aws.Source{Attribute: "namespace"} }},
		"nobody acts": {kind: exchange.KindMisconfigured, says: "tags.by: ",
			settings: func(s *aws.Settings) { s.Tags["by"] = aws.Source{From: "actor"} }},
		"an identity that is too long": {kind: exchange.KindMisconfigured, says: "source_identity: ",
			settings: func(s *aws.Settings) { s.SourceIdentity = &aws.Source{From: "subject"} },
			grant:    func(g *exchange.Grant) { g.Subject.Name = "oidc:corp:" + strings.Repeat("x", 60) }},
		"nothing to pass through": {kind: exchange.KindInvalidRequest, says: "passthrough_token",
			settings: func(s *aws.Settings) { s.Method, s.Tags = aws.MethodPassthrough, nil }},
		"nonsense passed through": {kind: exchange.KindInvalidRequest, says: "passthrough_token",
			settings: func(s *aws.Settings) { s.Method, s.Tags = aws.MethodPassthrough, nil },
			grant: func(g *exchange.Grant) {
				g.Passthrough = exchange.Token{Value: exchange.NewSecret("nonsense"), Type: exchange.TokenTypeJWT}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t, c.yard)
			if c.after != nil {
				c.after(t, y)
			}
			settings := y.settings()
			if c.settings != nil {
				c.settings(settings)
			}
			got, err := y.vend(t, settings, c.grant)
			if exchange.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %v with %q", err, c.kind, c.says)
			}
			if !got.Value.IsZero() {
				t.Error("a credential came with the error")
			}
		})
	}
}

// TestBadDays: an STS that is down, slow in its own way, lying or elsewhere is
// unavailable, and what it sent is not repeated.
func TestBadDays(t *testing.T) {
	y := newYard(t, nil)
	s := y.settings()
	d := y.open(t, s)
	for mood, c := range map[sandbox.Mood]struct {
		kind exchange.Kind
		says string
	}{
		sandbox.Down:          {exchange.KindUnavailable, "503"},
		sandbox.HTML:          {exchange.KindUnavailable, "text/html"},
		sandbox.Huge:          {exchange.KindUnavailable, "content type"},
		sandbox.Redirecting:   {exchange.KindUnavailable, "redirect"},
		sandbox.Throttling:    {exchange.KindThrottled, "Rate exceeded"},
		sandbox.Refusing:      {exchange.KindProviderRefused, "role_arn: "},
		sandbox.WithoutExpiry: {exchange.KindUnavailable, "without an expiry"},
		sandbox.PastExpiry:    {exchange.KindUnavailable, "expired already"},
	} {
		restore := y.Weather.Set(mood)
		got, err := d.Vend(t.Context(), grant(t, s, "k8s:prod:llm:gateway"))
		restore()
		if exchange.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "sign in") || len(err.Error()) > 2000 {
			t.Errorf("mood %d: %v, want %v with %q", mood, err, c.kind, c.says)
		}
		if !got.Value.IsZero() {
			t.Errorf("mood %d: a credential came with the error", mood)
		}
	}
	if _, err := d.Vend(t.Context(), grant(t, s, "k8s:prod:llm:gateway")); err != nil {
		t.Errorf("it does not recover: %v", err)
	}
}

// TestCheck proves the trust and opens no session.
func TestCheck(t *testing.T) {
	check := func(y *yard, change func(*aws.Settings)) error {
		s := y.settings()
		change(s)
		return y.open(t, s).(provider.Checker).Check(t.Context())
	}
	asIs := func(*aws.Settings) {}
	passthrough := func(s *aws.Settings) { s.Method, s.Tags = aws.MethodPassthrough, nil }
	if err := check(newYard(t, nil), asIs); err != nil {
		t.Errorf("a good account: %v", err)
	}
	if err := check(newYard(t, nil), passthrough); err != nil {
		t.Errorf("an STS that answers: %v", err)
	}
	for name, setup := range map[string]func(*awssandbox.Setup){
		"no OIDC provider":  func(s *awssandbox.Setup) { s.Audiences = []string{} },
		"another client id": func(s *awssandbox.Setup) { s.Audiences = []string{"cambio"} },
		"any sub":           func(s *awssandbox.Setup) { s.Roles[0].Trust = trustOf("sts.amazonaws.com", "*", true) },
	} {
		if err := check(newYard(t, setup), asIs); exchange.KindOf(err) != exchange.KindMisconfigured {
			t.Errorf("%s: %v", name, err)
		}
	}
	y := newYard(t, nil)
	defer y.Weather.Set(sandbox.Down)()
	if err := check(y, passthrough); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("STS is down: %v", err)
	}
	ambient(t)
	y = newYard(t, func(s *awssandbox.Setup) {
		s.Roles[0].Trust = ambientTrust
		s.Keys = []awssandbox.Key{{ID: ambientID, Secret: ambientSecret, User: "cambio"}}
	})
	assume := func(s *aws.Settings) { s.Method, s.MaxSession = aws.MethodAssumeRole, time.Hour }
	if err := check(y, assume); err != nil {
		t.Errorf("credentials of this process: %v", err)
	}
	if err := check(newYard(t, nil), assume); exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "method: ") {
		t.Errorf("an account that does not know them: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	if err := check(y, assume); exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "method: ") {
		t.Errorf("no credentials in this process: %v", err)
	}
}

// TestS39NoTokenComesBack: an STS that repeats the token that it was sent, whole or in
// part, does not get it into a log.
func TestS39NoTokenComesBack(t *testing.T) {
	var seen atomic.Pointer[string]
	echo := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent := r.PostFormValue("WebIdentityToken")
		seen.Store(&sent)
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(http.StatusBadRequest)
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName xml.Name `xml:"ErrorResponse"`
			Code    string   `xml:"Error>Code"`
			Message string   `xml:"Error>Message"`
		}{Code: "Odd", Message: "what is\n" + sent + " or " + sent[10:] + strings.Repeat("?", 10_000)})
	}))
	defer echo.Close()
	y := newYard(t, nil)
	y.deps.HTTP = echo.Client()
	s := y.settings()
	s.Endpoint = echo.URL
	_, err := y.vend(t, s, nil)
	if exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "REDACTED") {
		t.Errorf("%v", err)
	}
	payload := strings.Split(*seen.Load(), ".")[1]
	if text := err.Error(); strings.Contains(text, payload) || strings.Contains(text, "\n") || len(text) > 1000 {
		t.Error("the token, or too much else, is in the error")
	}
}
