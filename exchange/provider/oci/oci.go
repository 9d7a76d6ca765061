package oci

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

type driver struct {
	settings Settings
	host     string // of the domain, without port
	asserter provider.Asserter
	endpoint *endpoint
	now      func() time.Time
	random   io.Reader
}

// Open makes the driver.
func (s *Settings) Open(d provider.Deps) (provider.Driver, error) {
	if d.Asserter == nil || d.HTTP == nil {
		return nil, errors.New("an oci target needs the federation issuer and an outbound client, and one of them is missing")
	}
	u, err := url.Parse(s.Domain)
	if err != nil {
		return nil, fmt.Errorf("domain: %w", err)
	}
	e, err := newEndpoint(s, u.Host, d)
	if err != nil {
		return nil, err
	}
	made := &driver{settings: *s, host: u.Hostname(), asserter: d.Asserter, endpoint: e, now: d.Now, random: d.Random}
	if s.Signing == nil {
		return made, nil
	}
	if d.Sessions == nil {
		return nil, errors.New("signing: nobody holds sessions here")
	}
	return &signingDriver{driver: made, sessions: d.Sessions, keys: newKeyring()}, nil
}

// value is what callers get, as JSON.
type value struct {
	Token   string `json:"token"`
	KeyID   string `json:"key_id"` // keyId of the signature
	Region  string `json:"region"`
	Tenancy string `json:"tenancy,omitempty"`
	// Expires is a moment and no count of seconds, since a credential may be handed
	// out again later.
	Expires string `json:"expires_at"`
}

// Vend gets a token that is bound to the caller's key.
func (d *driver) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	if g.Type == TokenTypeSession {
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidRequest, "this target holds no signing sessions: send public_key and sign by yourself", nil)
	}
	key, err := publicKey(g.PublicKey)
	if err != nil {
		return exchange.Credential{}, err
	}
	w, err := d.wish(&g)
	if err != nil {
		return exchange.Credential{}, err
	}
	t, err := d.obtain(ctx, w, key)
	if err != nil {
		return exchange.Credential{}, err
	}
	text, err := json.Marshal(value{
		Token: t.text.Reveal(), KeyID: keyID(t.text), Region: d.settings.Region, Tenancy: d.tenancy(t), Expires: t.expires.UTC().Format(time.RFC3339),
	})
	if err != nil {
		return exchange.Credential{}, fmt.Errorf("writing the credential: %w", err)
	}
	return exchange.Credential{
		Value: exchange.NewSecret(string(text)), TokenType: "N_A", IssuedType: d.settings.issues(),
		Issued: g.Now, Expires: t.expires, Handle: t.handle,
	}, nil
}

// keyID is the keyId of requests that are signed under a session token.
func keyID(token exchange.Secret) string { return "ST$" + token.Reveal() }

func (d *driver) tenancy(t token) string {
	if d.settings.Tenancy != "" {
		return d.settings.Tenancy
	}
	return t.tenancy
}

// wish is what a token is asked for with.
type wish struct {
	tenant, target string
	identity
	lifetime time.Duration // zero: as long as the target gives
	notAfter time.Time
}

// identity is what an assertion says of the subject.
type identity struct {
	Values []string          `json:"values"` // after tenant and target in `sub`
	Claims map[string]string `json:"claims,omitempty"`
}

func (d *driver) wish(g *exchange.Grant) (wish, error) {
	w := wish{tenant: g.Target.Tenant, target: g.Target.Name, lifetime: g.Lifetime, notAfter: g.NotAfter}
	names := d.settings.Subject
	if len(names) == 0 {
		names = []string{"subject"}
	}
	var err error
	if w.Values, err = provider.SubjectValues(names, &g.Subject); err != nil {
		return wish{}, err
	}
	w.Claims = make(map[string]string, len(d.settings.Claims))
	for claim, name := range d.settings.Claims {
		v, err := provider.SubjectValues([]string{name}, &g.Subject)
		if err != nil {
			return wish{}, err
		}
		w.Claims[claim] = v[0] // the domain compares single texts
	}
	return w, nil
}

// obtain exchanges a fresh assertion for a token that names the key.
func (d *driver) obtain(ctx context.Context, w wish, key *rsa.PublicKey) (token, error) {
	life, err := d.lifetime(&w)
	if err != nil {
		return token{}, err
	}
	assertion, err := d.assert(ctx, &w, life)
	if err != nil {
		return token{}, err
	}
	form, err := d.form(assertion, key, life)
	if err != nil {
		return token{}, err
	}
	text, err := d.endpoint.post(ctx, form, assertion)
	if err != nil {
		return token{}, err
	}
	t, err := parseToken(text)
	switch {
	case err != nil:
		return token{}, unusable(err)
	case t.key == nil || !t.key.Equal(key):
		return token{}, unusable(errors.New("the token does not name the key that was sent"))
	case !t.expires.After(d.now()):
		return token{}, unusable(errors.New("the token has expired already"))
	}
	return t, nil
}

// unusable is for an answer that no working identity domain gives.
func unusable(cause error) error {
	return exchange.Fault(exchange.KindUnavailable, "the identity domain's answer could not be used; try again",
		fmt.Errorf("reading the identity domain's answer: %w", cause))
}

// lifetime is what to ask for: within the caps (S5) even where the domain's clock
// runs ahead of ours, and the call takes its time.
func (d *driver) lifetime(w *wish) (time.Duration, error) {
	wanted := d.settings.longest()
	if w.lifetime > 0 {
		wanted = min(wanted, w.lifetime)
	}
	wanted = min(wanted, w.notAfter.Sub(d.now()))
	if wanted <= 0 {
		return 0, exchange.Fault(exchange.KindInvalidLifetime, "the token you brought is about to expire: bring a fresh one", nil)
	}
	wanted = (wanted - min(30*time.Second, max(time.Second, wanted/20))).Truncate(time.Second)
	if wanted < d.settings.MinTTL && d.settings.MayOutlive {
		wanted = d.settings.MinTTL
	}
	if wanted < max(time.Second, d.settings.MinTTL) {
		return 0, exchange.Fault(exchange.KindInvalidLifetime, "the identity domain cannot give so short a life: ask for longer, or bring a token that lives longer", nil)
	}
	return wanted, nil
}

// assertionLife is how long an assertion lives that an RPST is asked for with.
const assertionLife = 5 * time.Minute

// assert mints the subject token. A UPST ends with it, so there it has the life that
// is wanted.
func (d *driver) assert(ctx context.Context, w *wish, life time.Duration) (exchange.Secret, error) {
	if d.settings.issues() == TokenTypeRPST {
		life = assertionLife
	}
	claims := make(map[string]any, len(w.Claims))
	for claim, v := range w.Claims {
		claims[claim] = v
	}
	issued := d.now().Truncate(time.Second)
	return d.asserter.Assert(ctx, exchange.Assertion{
		Tenant: w.tenant, Target: w.target, Values: w.Values, Audience: d.settings.audience(), Endpoint: d.host,
		Issued: issued, Expires: issued.Add(life), Claims: claims,
	})
}

// publicKey is the caller's key. The door has looked at it already, in general.
func publicKey(der []byte) (*rsa.PublicKey, error) {
	refuse := func(advice string, cause error) (*rsa.PublicKey, error) {
		return nil, exchange.Fault(exchange.KindInvalidRequest, advice, cause)
	}
	if len(der) == 0 {
		return refuse("send public_key: the SubjectPublicKeyInfo of an RSA key of 2048 to 8192 bits, whose private half stays with you and signs", nil)
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return refuse("public_key is no SubjectPublicKeyInfo in DER: openssl pkey -pubout -outform DER makes one", err)
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return refuse("public_key must be an RSA key: OCI takes no other", nil)
	}
	if bits := key.N.BitLen(); bits < 2048 || bits > 8192 {
		return refuse(fmt.Sprintf("public_key: an RSA key has 2048 to 8192 bits, and this one %d", bits), nil)
	}
	if key.E < 3 || key.E%2 == 0 {
		return refuse("public_key: this exponent is no RSA key's", nil)
	}
	return key, nil
}
