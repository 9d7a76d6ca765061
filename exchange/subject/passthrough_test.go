package subject_test

import (
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// TestS8PassthroughIsTheSubjectsOwn: a token for a cloud travels beside the subject
// token, and is taken only where it verifies as the very same subject.
func TestS8PassthroughIsTheSubjectsOwn(t *testing.T) {
	k, other := newES256("k"), newES256("other")
	b := newBench(t, corp())
	b.house.issuer(login, k)
	alice := b.accepts(k.token(person(nil)))
	check := func(raw string) error {
		return b.VerifyPassthrough(t.Context(), exchange.Token{Value: exchange.NewSecret(raw)}, alice, b.clock.Now())
	}
	aws := func(changes map[string]any) map[string]any {
		return person(change(map[string]any{"aud": "sts.amazonaws.com"}, changes))
	}
	if err := check(k.token(aws(nil))); err != nil {
		t.Fatalf("a token of the same subject for the cloud: %v", err)
	}
	b.refuses(k.token(aws(nil)), exchange.KindInvalidSubject, "another audience") // and it is never a subject token
	for name, c := range map[string]struct {
		raw   string
		kind  exchange.Kind
		words string
	}{
		"another subject": {k.token(aws(map[string]any{"sub": "bob"})), exchange.KindInvalidRequest, "not a token of the subject itself"},
		"another issuer":  {k.token(aws(map[string]any{"iss": "https://evil.example"})), exchange.KindInvalidRequest, "no trust accepts"},
		"another key":     {other.token(aws(nil)), exchange.KindInvalidRequest, "key"},
		"expired":         {k.token(aws(map[string]any{"exp": b.clock.Now().Unix()})), exchange.KindInvalidRequest, "expired"},
		"not yet":         {k.token(aws(map[string]any{"nbf": b.clock.Now().Add(time.Hour).Unix()})), exchange.KindInvalidRequest, "not valid yet"},
		"bound to a key":  {k.token(aws(map[string]any{"cnf": map[string]any{"jkt": "x"}})), exchange.KindInvalidRequest, "cnf"},
		"delegated":       {k.token(aws(map[string]any{"act": map[string]any{"sub": "robot"}})), exchange.KindInvalidRequest, "not a token of the subject itself"},
		"no token":        {"x", exchange.KindInvalidRequest, "three parts"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, check(c.raw), c.kind, c.words) })
	}
	b.house.fail(login+"/keys", 500)
	b.clock.advance(2 * time.Hour)
	if err := check(k.token(person(map[string]any{"exp": b.clock.Now().Add(time.Minute).Unix(), "iat": b.clock.Now().Unix()}))); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("without keys: %v", err)
	}
}
