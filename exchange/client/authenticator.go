package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// maxAssertionLife is how far ahead an assertion's exp may be. One that lives
// longer is a password.
const maxAssertionLife = 10 * time.Minute

// Directory knows the registered clients: a policy revision is one.
type Directory interface {
	Client(name string) (exchange.Client, bool)
	// ClientsOf lists the clients that a verified token speaks for.
	ClientsOf(s exchange.Subject) []exchange.Client
}

// Options is what an Authenticator needs.
type Options struct {
	Directory  func() Directory  // the one in force
	Tokens     exchange.Verifier // of the trusts' tokens
	Assertions exchange.Verifier // of clients' own, loaded with Trusts
	Issuer     string            // ours: the only audience of an assertion
}

// Authenticator proves clients. It is safe for concurrent use.
type Authenticator struct{ o Options }

// New makes an Authenticator.
func New(o Options) *Authenticator { return &Authenticator{o: o} }

// Proven is a client that has proven itself.
type Proven struct {
	exchange.Client
	Self exchange.Subject // the client as a subject
	Once *exchange.Once   // burns with what the proof is used for; nil: nothing does
}

// Trusts are the clients' own keys as trusts of an assertion verifier: iss is the
// client (RFC 7523 §3). Its Options.ForClients must be set.
func Trusts(clients []exchange.Client, issuer string) []exchange.Trust {
	var all []exchange.Trust
	for _, c := range clients {
		if c.Keys == (exchange.KeySource{}) {
			continue
		}
		all = append(all, exchange.Trust{
			Tenant: c.Tenant, Name: c.Name, Kind: exchange.TrustOIDC, Issuer: c.Name, Keys: c.Keys,
			Audiences: []string{issuer}, Algorithms: c.Algorithms, Types: []string{"client-authentication+jwt", "jwt", ""}, Hash: c.Hash,
		})
	}
	return all
}

// Secret proves a client by its secret.
func (a *Authenticator) Secret(_ context.Context, id string, secret exchange.Secret, now time.Time) (Proven, error) {
	c, known := a.o.Directory().Client(id)
	if !matches(secret, c.Secrets) || !known {
		return Proven{}, refused(errors.New("no such client, or not its secret"))
	}
	return Proven{Client: c, Self: a.self(&c, now)}, nil
}

// Assertion proves a client by an assertion of its own, or by a token of a trust.
// id is what the request calls the client; empty: nothing (RFC 7521 §4.2).
func (a *Authenticator) Assertion(ctx context.Context, id string, assertion exchange.Secret, now time.Time) (Proven, error) {
	if c, ok := a.o.Directory().Client(issuerOf(assertion.Reveal())); ok && c.Keys != (exchange.KeySource{}) {
		return a.own(ctx, c, id, assertion, now)
	}
	return a.token(ctx, id, assertion, now)
}

// own checks an assertion that the client signed (RFC 7523 §3).
func (a *Authenticator) own(ctx context.Context, c exchange.Client, id string, assertion exchange.Secret, now time.Time) (Proven, error) {
	s, err := a.o.Assertions.Verify(ctx, exchange.Token{Value: assertion, Type: exchange.TokenTypeJWT}, now)
	switch {
	case err != nil:
		return Proven{}, asClient(err)
	case s.Tenant != c.Tenant || s.Trust != c.Name || s.TrustHash != c.Hash:
		return Proven{}, exchange.Fault(exchange.KindUnavailable, "the policy is changing; try again", nil)
	case s.Issuer != c.Name || s.ID != c.Name:
		return Proven{}, refused(errors.New("iss and sub of an assertion are the client_id"))
	case id != "" && id != c.Name:
		return Proven{}, refused(errors.New("client_id and the assertion name different clients"))
	case len(s.Audience) != 1 || s.Audience[0] != a.o.Issuer:
		return Proven{}, advised("the assertion's aud must be the issuer and nothing else: " + a.o.Issuer)
	case s.Expires.Sub(now) > maxAssertionLife:
		return Proven{}, advised("the assertion lives too long: let exp be ten minutes ahead at most")
	case s.JTI == "":
		return Proven{}, advised(`the assertion has no "jti", by which it can be told from one that was used`)
	case len(s.Asserted) > 0 || s.MayAct != nil:
		return Proven{}, advised("a client's assertion speaks for the client alone: leave out act and may_act")
	}
	return Proven{Client: c, Self: a.self(&c, now), Once: &exchange.Once{
		Realm: "client:" + c.Tenant + ":" + c.Name, Hash: sha256.Sum256([]byte(s.JTI)), Expires: s.Expires,
	}}, nil
}

// self is a client that proved itself without a token, as a subject. It is known to
// our issuer and to nobody else, so that is who may_act names it by.
func (a *Authenticator) self(c *exchange.Client, now time.Time) exchange.Subject {
	s := c.Subject(now)
	s.Issuer = a.o.Issuer
	return s
}

// token checks a token of a trust, which policy takes for a client's.
func (a *Authenticator) token(ctx context.Context, id string, assertion exchange.Secret, now time.Time) (Proven, error) {
	s, err := a.o.Tokens.Verify(ctx, exchange.Token{Value: assertion, Type: exchange.TokenTypeJWT}, now)
	if err != nil {
		return Proven{}, asClient(err)
	}
	if len(s.Asserted) > 0 || s.MayAct != nil {
		return Proven{}, advised("a client's token speaks for the client alone: send one without act and may_act")
	}
	var found []exchange.Client
	for _, c := range a.o.Directory().ClientsOf(s) {
		if id == "" || id == c.Name {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return Proven{}, refused(errors.New("the token " + s.Name + " is of no registered client, or of another than client_id says"))
	case 1:
		return Proven{Client: found[0], Self: s, Once: s.Once}, nil
	}
	return Proven{}, advised("the token is that of several registered clients: say which by client_id")
}

// asClient turns a refusal of a token into one of a client, and keeps an outage.
func asClient(err error) error {
	var e *exchange.Error
	if errors.As(err, &e) && e.Kind == exchange.KindUnavailable {
		return err
	}
	if errors.As(err, &e) && e.Kind == exchange.KindInvalidSubject {
		return exchange.Fault(exchange.KindInvalidClient, "client_assertion: "+e.Advice, err)
	}
	return refused(err)
}

// refused is the one answer to an unknown client and to a wrong credential.
func refused(cause error) error {
	return exchange.Fault(exchange.KindInvalidClient, "client authentication failed", cause)
}

func advised(advice string) error {
	return exchange.Fault(exchange.KindInvalidClient, "client_assertion: "+advice, nil)
}

// maxPeek bounds what is decoded of an assertion before anything is verified.
const maxPeek = 32 << 10

// issuerOf is the iss of claims that nobody has verified: it says which verifier to
// ask, and is believed in nothing else.
func issuerOf(assertion string) string {
	if len(assertion) > maxPeek {
		return ""
	}
	_, rest, _ := strings.Cut(assertion, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return claims.Issuer
}
