package oauth_test

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server/oauth"
)

func TestRFC8693Section2_1EveryParameterArrives(t *testing.T) {
	d := openDoor(t)
	a := d.ask(
		"actor_token", actor, "actor_token_type", accessType,
		"audience", "github-mcp", "audience", "mcp of github",
		"resource", "https://mcp.example/github", "resource", "https://mcp.example/github?v=1",
		"scope", "tools.read tools.call tools.read", "requested_token_type", accessType,
		"requested_lifetime", "600", "passthrough_token", passed, "reason", "ticket 42: deploy – done",
		"public_key", spki(t), "rejected_sha256", "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ",
	)
	a.wantIssued(t)
	r := d.bureau.only()
	same := map[string]bool{
		"subject token":     r.SubjectToken.Value.Reveal() == subject && r.SubjectToken.Type == jwtType,
		"actor token":       r.ActorToken.Value.Reveal() == actor && r.ActorToken.Type == accessType,
		"passthrough token": r.PassthroughToken.Value.Reveal() == passed,
		"audiences":         slices.Equal(r.Audiences, []string{"github-mcp", "mcp of github"}),
		"resources":         slices.Equal(r.Resources, []string{"https://mcp.example/github", "https://mcp.example/github?v=1"}),
		"scopes":            slices.Equal(r.Scopes, []string{"tools.read", "tools.call"}),
		"type":              r.RequestedType == accessType,
		"lifetime":          r.Lifetime == 10*time.Minute,
		"reason":            r.Reason == "ticket 42: deploy – done",
		"public key":        len(r.PublicKey) > 0,
		"refused before":    r.Rejected == sha256.Sum256([]byte("hello")),
		"trace":             len(r.TraceID) == 32,
		"user agent":        strings.HasPrefix(r.UserAgent, "Go-http-client"),
		"address":           r.ClientIP.IsLoopback(),
		"started":           r.RequestStarted.Equal(start),
	}
	for name, ok := range same {
		if !ok {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestRFC8693Section2_1LeastRequestAsksForNothingElse(t *testing.T) {
	d := openDoor(t)
	d.ask().wantIssued(t)
	r := d.bureau.only()
	if r.Scopes != nil || r.Resources != nil || r.Lifetime != 0 || r.RequestedType != "" || r.PublicKey != nil || !r.ActorToken.IsZero() || !r.PassthroughToken.IsZero() || r.Reason != "" {
		t.Errorf("something was asked for: %+v", r)
	}
}

func TestRFC8693Section2_1SubjectTokenAndItsTypeAreRequired(t *testing.T) {
	for _, missing := range []string{"subject_token", "subject_token_type"} {
		d := openDoor(t)
		a := d.ask(missing, "")
		a.wantFailure(t, http.StatusBadRequest, "invalid_request")
		if !strings.Contains(a.text, missing) {
			t.Errorf("%s does not name %s", a.text, missing)
		}
		d.bureau.none()
	}
}

func TestRFC8693Section2_1ActorTokenTypeOnlyWithActorToken(t *testing.T) {
	for name, pairs := range map[string][]string{
		"type alone":           {"actor_token_type", jwtType},
		"token alone":          {"actor_token", actor},
		"type, token empty":    {"actor_token_type", jwtType, "actor_token", ""},
		"token, type no URI":   {"actor_token", actor, "actor_token_type", "jwt"},
		"token, type with gap": {"actor_token", actor, "actor_token_type", "urn:a b"},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t)
			d.ask(pairs...).wantFailure(t, http.StatusBadRequest, "invalid_request")
			d.bureau.none()
		})
	}
	d := openDoor(t)
	d.ask("actor_token", actor, "actor_token_type", jwtType).wantIssued(t)
	if d.bureau.only().ActorToken.IsZero() {
		t.Error("the actor was lost")
	}
}

func TestRFC8693Section2_1UnsupportedRequestedTokenType(t *testing.T) {
	d := openDoor(t)
	d.ask("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token").wantFailure(t, http.StatusBadRequest, "invalid_request")
	d.ask("requested_token_type", "access_token").wantFailure(t, http.StatusBadRequest, "invalid_request")
	d.bureau.none()

	d = openDoor(t)
	d.bureau.answer = refusing(exchange.KindInvalidRequest, "this target issues no such token type")
	d.ask("requested_token_type", "urn:ietf:params:oauth:token-type:saml2").wantFailure(t, http.StatusBadRequest, "invalid_request")
}

// Several targets reach the decision together: it finds the one target that they
// all name, or refuses (RFC 8693 §2.1.1).
func TestRFC8693Section2_1_1ManyTargetsAreDecidedTogether(t *testing.T) {
	d := openDoor(t)
	d.bureau.answer = refusing(exchange.KindInvalidTarget, "name one target")
	d.ask("audience", "a", "audience", "b", "resource", "https://c.example").wantFailure(t, http.StatusBadRequest, "invalid_target")
	if r := d.bureau.only(); len(r.Audiences) != 2 || len(r.Resources) != 1 {
		t.Errorf("%q %q", r.Audiences, r.Resources)
	}
}

func TestRFC8693Section2_2_1Response(t *testing.T) {
	d := openDoor(t)
	a := d.ask("scope", "tools.read tools.call tools.admin")
	a.wantIssued(t)
	want := map[string]any{
		"access_token": issued, "issued_token_type": accessType, "token_type": "Bearer", "expires_in": float64(900),
		"scope":       "tools.read tools.call", // narrower than asked for, so it must be said
		"exchange_id": exchangeID.String(), "lease_id": leaseID.String(),
	}
	if !maps.Equal(a.body, want) {
		t.Errorf("got %s", a.text)
	}
}

func TestRFC8693Section2_2_1NoAccessTokenIsN_A(t *testing.T) {
	document := `{"Version":1,"AccessKeyId":"AKIA","SecretAccessKey":"a\"b\\c/<é>","SessionToken":"s&t"}`
	d := openDoor(t)
	d.bureau.answer = func(exchange.Request) (exchange.Receipt, error) {
		c := credential()
		c.Value, c.TokenType, c.IssuedType, c.Scopes = exchange.NewSecret(document), "N_A", "urn:cambio:token-type:aws-credentials", nil
		return exchange.Receipt{Exchange: exchangeID, Credential: c}, nil
	}
	a := d.ask("audience", "bedrock")
	if a.body["access_token"] != document || a.body["token_type"] != "N_A" || a.body["issued_token_type"] != "urn:cambio:token-type:aws-credentials" {
		t.Errorf("got %s", a.text)
	}
	if _, there := a.body["scope"]; there {
		t.Error("a scope for what knows no scopes")
	}
	if inner, _ := a.body["access_token"].(string); !json.Valid([]byte(inner)) {
		t.Error("the document inside is broken")
	}
}

func TestRFC8693Section2_2_1NoRefreshToken(t *testing.T) {
	d := openDoor(t)
	if a := d.ask(); a.body["refresh_token"] != nil || strings.Contains(a.text, "refresh") {
		t.Errorf("got %s", a.text)
	}
}

func TestRFC8693Section2_2_1ExpiresInIsWhatIsLeft(t *testing.T) {
	for left, want := range map[time.Duration]float64{
		90*time.Second + 999*time.Millisecond: 90, // never more than there is
		time.Millisecond:                      0,
		time.Hour:                             3600,
	} {
		d := openDoor(t)
		d.bureau.answer = func(exchange.Request) (exchange.Receipt, error) {
			c := credential()
			c.Expires = start.Add(left)
			return exchange.Receipt{Exchange: exchangeID, Credential: c}, nil
		}
		if a := d.ask(); a.body["expires_in"] != want {
			t.Errorf("%s left: %s", left, a.text)
		}
	}
}

func TestRFC8693Section2_2_2Errors(t *testing.T) {
	for kind, want := range map[exchange.Kind]struct {
		status int
		code   string
	}{
		exchange.KindInvalidSubject:  {400, "invalid_request"},
		exchange.KindInvalidActor:    {400, "invalid_request"},
		exchange.KindReplayed:        {400, "invalid_request"},
		exchange.KindInvalidTarget:   {400, "invalid_target"},
		exchange.KindProviderRefused: {400, "invalid_target"},
		exchange.KindInvalidScope:    {400, "invalid_scope"},
		exchange.KindInvalidClient:   {401, "invalid_client"},
		exchange.KindUnavailable:     {503, "temporarily_unavailable"},
		exchange.KindThrottled:       {429, "temporarily_unavailable"},
		exchange.KindInternal:        {500, "server_error"},
		exchange.KindMisconfigured:   {500, "server_error"},
	} {
		t.Run(kind.String(), func(t *testing.T) {
			d := openDoor(t)
			d.bureau.answer = refusing(kind, `say "please" – or don't \ at all`)
			a := d.ask()
			a.wantFailure(t, want.status, want.code)
			if a.body["exchange_id"] != exchangeID.String() {
				t.Errorf("the exchange has no name in %s", a.text)
			}
			if strings.Contains(a.text, "no-preview") {
				t.Errorf("policy text left the house: %s", a.text)
			}
			if !strings.Contains(d.log.String(), "no-preview") || !strings.Contains(d.log.String(), exchangeID.String()) {
				t.Errorf("the operator learns nothing: %s", d.log)
			}
			if len(d.refused) > 0 {
				t.Errorf("counted here as well as by the exchange: %v", d.refused)
			}
		})
	}
}

func TestEveryKindIsAnsweredByTheTable(t *testing.T) {
	for _, kind := range exchange.Kinds() {
		d := openDoor(t)
		d.bureau.answer = refusing(kind, "change something")
		a := d.ask()
		if a.status < 400 || a.body["error"] == "error" || a.body["error"] == nil {
			t.Errorf("%s: %d %s", kind, a.status, a.text)
		}
	}
}

func TestThrottlingSaysWhenToComeBack(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: "1", 1500 * time.Millisecond: "2", time.Minute: "60"} {
		d := openDoor(t)
		d.bureau.answer = func(exchange.Request) (exchange.Receipt, error) {
			return exchange.Receipt{}, &exchange.Error{Kind: exchange.KindThrottled, RetryAfter: wait, Exchange: exchangeID}
		}
		a := d.ask()
		a.wantFailure(t, http.StatusTooManyRequests, "temporarily_unavailable")
		if got := a.header.Get("Retry-After"); got != want {
			t.Errorf("%s: Retry-After %q", wait, got)
		}
	}
}

// An error that nobody classified says nothing but that it happened.
func TestAPlainErrorStaysInside(t *testing.T) {
	d := openDoor(t)
	d.bureau.answer = func(exchange.Request) (exchange.Receipt, error) {
		return exchange.Receipt{}, http.ErrBodyNotAllowed
	}
	a := d.ask()
	a.wantFailure(t, http.StatusInternalServerError, "server_error")
	if strings.Contains(a.text, "body") {
		t.Errorf("it left the house: %s", a.text)
	}
}

func TestAPanicSaysNothing(t *testing.T) {
	d := openDoor(t)
	d.bureau.answer = func(exchange.Request) (exchange.Receipt, error) { panic("hunter2 " + issued) }
	a := d.ask()
	if a.status != http.StatusInternalServerError || a.body["error"] != "server_error" {
		t.Errorf("got %d %s", a.status, a.text)
	}
	if !strings.Contains(d.log.String(), "a handler panicked") {
		t.Error("the operator is not told")
	}
}

var _ oauth.Exchanger = (*bureau)(nil)
