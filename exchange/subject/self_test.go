package subject_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/subject"
)

// register is where leases stand, as Self asks it.
type register struct {
	leases map[exchange.ID]exchange.Lease
	down   bool
	asked  int
}

func (r *register) standing(_ context.Context, tenant string, id exchange.ID) (exchange.Lease, error) {
	r.asked++
	l, ok := r.leases[id]
	switch {
	case r.down:
		return exchange.Lease{}, exchange.Fault(exchange.KindUnavailable, "the database could not be read; try again", nil)
	case !ok || l.Tenant != tenant || l.State != exchange.LeaseActive:
		return exchange.Lease{}, exchange.Fault(exchange.KindNotFound, "there is no such credential", errors.New("revoked, or never there"))
	}
	return l, nil
}

// desk issues tokens of ours, keeps their leases, and takes them back.
type desk struct {
	*subject.Self
	t        testing.TB
	key      signer
	keys     []byte
	register *register
	sealer   *exchange.Sealer
}

func newDesk(t testing.TB) *desk {
	d := &desk{
		t: t, key: newES256("a1"), register: &register{leases: map[exchange.ID]exchange.Lease{}},
		sealer: must(exchange.NewSealer(rand.Reader, make([]byte, exchange.SealKeySize))),
	}
	d.keys = keySetOf(d.key)
	d.Self = subject.NewSelf(subject.SelfOptions{
		Tenant: "default", Issuer: ourIssuer, Keys: func() []byte { return d.keys },
		Standing: d.register.standing, Open: d.sealer.OpenOrigin,
	})
	return d
}

var (
	ownID    = must(exchange.ParseID("019ab000-0000-7000-8000-000000000001"))
	parentID = must(exchange.ParseID("019ab000-0000-7000-8000-000000000002"))
)

const wiki = "https://mcp.test/wiki"

// origin is for whom the tokens of these tests were issued.
func origin() exchange.Origin {
	return exchange.Origin{
		Trust: "corp", TrustHash: [32]byte{7}, Kind: exchange.TrustOIDC, Issuer: login, ID: "alice",
		Attributes: exchange.Attributes{"groups": {"staff"}}, Record: exchange.Attributes{"team": {"a"}},
		MayAct: &exchange.MayAct{Issuer: login, ID: "robot"},
		Actors: []exchange.Actor{
			{Name: "k8s:prod:llm:gateway", Trust: "prod", Issuer: "https://prod.test", ID: "x", Proven: true, TrustHash: [32]byte{8}},
			{Name: "bob", Issuer: login, ID: "bob", AssertedBy: "corp"},
		},
	}
}

// lend writes the lease of the token ownID.
func (d *desk) lend(change func(*exchange.Lease)) {
	l := exchange.Lease{
		ID: ownID, Tenant: "default", Subject: "oidc:corp:alice", State: exchange.LeaseActive, Lineage: []exchange.ID{parentID},
		Expires: noon.Add(time.Hour), Origin: must(d.sealer.SealOrigin(ownID, origin())),
	}
	if change != nil {
		change(&l)
	}
	d.register.leases[l.ID] = l
}

// ownClaims are those of a good token, as our issuer writes them.
func ownClaims(changes map[string]any) map[string]any {
	return change(map[string]any{
		"iss": ourIssuer, "sub": "oidc:corp:alice", "aud": wiki, "client_id": "chat", "jti": ownID.String(), "scope": "read call",
		"iat": noon.Add(-time.Minute).Unix(), "exp": noon.Add(10 * time.Minute).Unix(),
		"act": map[string]any{"iss": ourIssuer, "sub": "k8s:prod:llm:gateway"},
	}, changes)
}

func (d *desk) verify(raw string) (exchange.Subject, error) {
	return d.Verify(d.t.Context(), exchange.Token{Value: exchange.NewSecret(raw), Type: exchange.TokenTypeAccessToken}, noon)
}

// S7: a token of ours speaks for the subject that it was issued for, with all that
// was known of it then; who acted then is history.
func TestS7OwnTokenComesBack(t *testing.T) {
	d := newDesk(t)
	d.lend(nil)
	raw := d.key.typed("at+jwt", ownClaims(nil))
	s, err := d.verify(raw)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "oidc:corp:alice" || s.Tenant != "default" || s.Trust != "corp" || s.TrustHash != [32]byte{7} || s.Kind != exchange.TrustOIDC ||
		s.Issuer != login || s.ID != "alice" || s.Attributes["groups"][0] != "staff" || s.Record["team"][0] != "a" || *s.MayAct != (exchange.MayAct{Issuer: login, ID: "robot"}) ||
		s.JTI != ownID.String() || s.KeyID != "a1" || !s.Expires.Equal(noon.Add(10*time.Minute)) || s.Clientless != exchange.ClientlessNo || s.Once != nil || s.Assertion != nil {
		t.Errorf("%+v", s)
	}
	if o := s.Own; o.Audience != wiki || o.ClientID != "chat" || !slices.Equal(o.Scopes, []string{"read", "call"}) || !slices.Equal(o.Lineage, []exchange.ID{parentID, ownID}) {
		t.Errorf("%+v", o)
	}
	if len(s.Asserted) != 2 || s.Asserted[0].Proven || s.Asserted[0].AssertedBy != exchange.SelfTrust || s.Asserted[0].Name != "k8s:prod:llm:gateway" ||
		s.Asserted[0].Trust != "prod" || s.Asserted[1].AssertedBy != "corp" || s.Asserted[1].Name != "bob" {
		t.Errorf("%+v", s.Asserted)
	}
	got, err := d.Read(exchange.NewSecret(raw), noon)
	if err != nil || got.ID != ownID || got.Audience != wiki || got.ClientID != "chat" || len(got.Actors) != 1 || got.Actors[0].ID != "k8s:prod:llm:gateway" {
		t.Errorf("%+v, %v", got, err)
	}
}

// S7: what is not exactly an access token of ours is refused before anybody is asked
// about it.
func TestS7OwnTokenFaults(t *testing.T) {
	d := newDesk(t)
	d.lend(nil)
	other, federation := newES256("a1"), newES256("f1")
	at := func(changes map[string]any) string { return d.key.typed("at+jwt", ownClaims(changes)) }
	for name, c := range map[string]struct{ raw, words string }{
		"an assertion of federation": {federation.typed("JWT", ownClaims(map[string]any{"iss": ourIssuer + "/federation"})), "typ"},
		"its typ, forged":            {federation.typed("at+jwt", ownClaims(map[string]any{"iss": ourIssuer + "/federation"})), "not of our issuer"},
		"its key":                    {federation.typed("at+jwt", ownClaims(nil)), "signature"},
		"typ of an ID-JAG":           {d.key.typed("oauth-id-jag+jwt", ownClaims(nil)), "typ"},
		"typ of a session":           {d.key.typed("cambio-session+jwt", ownClaims(nil)), "typ"},
		"typ JWT":                    {d.key.typed("JWT", ownClaims(nil)), "typ"},
		"no typ":                     {d.key.token(ownClaims(nil)), "typ"},
		"another key of that name":   {other.typed("at+jwt", ownClaims(nil)), "signature"},
		"no key id":                  {d.key.seal(`{"alg":"ES256","typ":"at+jwt"}`, string(marshal(ownClaims(nil)))), "signature"},
		"unsigned":                   {b64([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + b64(marshal(ownClaims(nil))) + ".AA", "algorithm"},
		"another issuer":             {at(map[string]any{"iss": login}), "not of our issuer"},
		"ours with a slash":          {at(map[string]any{"iss": ourIssuer + "/"}), "not of our issuer"},
		"no issuer":                  {at(map[string]any{"iss": nil}), "not of our issuer"},
		"expired":                    {at(map[string]any{"exp": noon.Unix()}), "expired"},
		"not yet":                    {at(map[string]any{"nbf": noon.Unix() + 1}), "not valid yet"},
		"from the future":            {at(map[string]any{"iat": noon.Unix() + 60}), "not valid yet"},
		"bound to a key":             {at(map[string]any{"cnf": map[string]any{"jkt": "x"}}), "cnf"},
		"two audiences":              {at(map[string]any{"aud": []string{wiki, "x"}}), "one audience"},
		"jti of another kind":        {at(map[string]any{"jti": "j-1"}), "jti"},
		"jti in capitals":            {at(map[string]any{"jti": strings.ToUpper(ownID.String())}), "jti"},
		"no jti":                     {at(map[string]any{"jti": nil}), "jti"},
		"critical header":            {d.key.seal(`{"alg":"ES256","kid":"a1","typ":"at+jwt","crit":["b64"]}`, string(marshal(ownClaims(nil)))), "crit"},
		"a claim twice":              {d.key.seal(`{"alg":"ES256","kid":"a1","typ":"at+jwt"}`, strings.TrimSuffix(string(marshal(ownClaims(nil))), "}")+`,"aud":"x"}`), "twice"},
		"encrypted":                  {"a.b.c.d.e", "JWE"},
		"nothing":                    {"", "empty"},
		"JSON":                       {`{"payload":"x"}`, "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.verify(c.raw)
			wantError(t, err, exchange.KindInvalidSubject, c.words)
			if _, err := d.Read(exchange.NewSecret(c.raw), noon); exchange.KindOf(err) != exchange.KindInvalidSubject {
				t.Errorf("read: %v", err)
			}
		})
	}
	if d.register.asked != 0 {
		t.Errorf("the database was asked %d times about what is no token of ours", d.register.asked)
	}
}

// S7: one answer for whatever became of the token; and nothing passes by what was
// sealed for it.
func TestS7OwnTokenThatDoesNotStand(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*exchange.Lease)
		kind   exchange.Kind
		words  string
	}{
		"revoked":                   {func(l *exchange.Lease) { l.State = exchange.LeaseRevoked }, exchange.KindInvalidSubject, "unknown, or has expired, or was revoked"},
		"of another tenant":         {func(l *exchange.Lease) { l.Tenant = "north" }, exchange.KindInvalidSubject, "unknown, or has expired, or was revoked"},
		"never issued":              {func(l *exchange.Lease) { l.ID = parentID }, exchange.KindInvalidSubject, "unknown, or has expired, or was revoked"},
		"lease of another subject":  {func(l *exchange.Lease) { l.Subject = "oidc:corp:bob" }, exchange.KindInvalidSubject, "unknown, or has expired, or was revoked"},
		"resource without a server": {func(l *exchange.Lease) { l.Origin = nil }, exchange.KindInvalidSubject, "do not come back"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.lend(c.change)
			_, err := d.verify(d.key.typed("at+jwt", ownClaims(nil)))
			wantError(t, err, c.kind, c.words)
		})
	}
	d := newDesk(t)
	d.lend(func(l *exchange.Lease) { l.Origin = must(d.sealer.SealOrigin(parentID, origin())) }) // moved here from another row
	if _, err := d.verify(d.key.typed("at+jwt", ownClaims(nil))); exchange.KindOf(err) != exchange.KindInternal {
		t.Errorf("another token's origin: %v", err)
	}
	d = newDesk(t)
	d.register.down = true
	if _, err := d.verify(d.key.typed("at+jwt", ownClaims(nil))); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("without the database: %v", err)
	}
}

// A key that is withdrawn verifies no more, and a new one does at once.
func TestOwnKeysChange(t *testing.T) {
	d := newDesk(t)
	d.lend(nil)
	raw, next := d.key.typed("at+jwt", ownClaims(nil)), newES256("a2")
	if _, err := d.verify(raw); err != nil {
		t.Fatal(err)
	}
	d.keys = keySetOf(next)
	if _, err := d.verify(raw); exchange.KindOf(err) != exchange.KindInvalidSubject {
		t.Errorf("by a withdrawn key: %v", err)
	}
	if _, err := d.verify(next.typed("at+jwt", ownClaims(nil))); err != nil {
		t.Error(err)
	}
	d.keys = []byte(`{`)
	if _, err := d.verify(raw); exchange.KindOf(err) != exchange.KindInternal {
		t.Errorf("by keys that cannot be read: %v", err)
	}
}

// Ours says only whether a token begins as our issuer's do, to the end of its name.
func TestOurs(t *testing.T) {
	d := newDesk(t)
	sealed := func(claims string) exchange.Token {
		return exchange.Token{Value: exchange.NewSecret(d.key.seal(`{"alg":"ES256","typ":"at+jwt","kid":"a1"}`, claims))}
	}
	for claims, want := range map[string]bool{
		`{"iss":"https://cambio.test","sub":"x","aud":"y"}`:            true,
		`{"iss":"https://cambio.test/federation","sub":"x","aud":"y"}`: false,
		`{"iss":"https://cambio.test/","sub":"x"}`:                     false,
		`{"iss":"https://cambio.testing","sub":"x"}`:                   false,
		`{"iss":"https://cambio.tes","sub":"x"}`:                       false,
		`{"iss":"https://login.test","sub":"https://cambio.test"}`:     false,
		`{}`: false,
	} {
		if d.Ours(sealed(claims)) != want {
			t.Errorf("%s: %t", claims, !want)
		}
	}
	token := sealed(`{"iss":"https://login.test","sub":"x"}`)
	if n := testing.AllocsPerRun(100, func() { d.Ours(token) }); n != 0 { // it runs before every exchange
		t.Errorf("%v allocations", n)
	}
	for _, raw := range []string{"", ".", "a.b", "a.b.c", "opaque"} {
		if d.Ours(exchange.Token{Value: exchange.NewSecret(raw)}) {
			t.Errorf("%q is ours", raw)
		}
	}
}

// FuzzSelf: no bytes but those that our key signed are a token of ours, and nothing
// panics.
func FuzzSelf(f *testing.F) {
	d := newDesk(f)
	d.lend(nil)
	good := d.key.typed("at+jwt", ownClaims(nil))
	f.Add(good)
	f.Add(d.key.typed("JWT", ownClaims(nil)))
	f.Add(good[:len(good)-1])
	f.Add(good + ".")
	f.Add("a.b.c")
	f.Add(`{"iss":"https://cambio.test"}`)
	f.Add(newES256("a1").typed("at+jwt", ownClaims(nil)))
	f.Fuzz(func(t *testing.T, raw string) {
		d.Ours(exchange.Token{Value: exchange.NewSecret(raw)})
		s, err := d.Verify(t.Context(), exchange.Token{Value: exchange.NewSecret(raw)}, noon)
		if (err == nil) != (raw == good) {
			t.Fatalf("%q: %v", raw, err)
		}
		if err != nil && (exchange.KindOf(err) != exchange.KindInvalidSubject || s.Name != "") {
			t.Fatalf("%q: %v with %+v", raw, err, s)
		}
	})
}
