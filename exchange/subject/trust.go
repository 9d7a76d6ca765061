package subject

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
)

// What a trust means by saying nothing.
const (
	defaultLeeway = 30 * time.Second
	maxLeeway     = 5 * time.Minute
	maxReviewTTL  = 10 * time.Minute
)

var (
	defaultAlgorithms = []string{string(jose.RS256), string(jose.ES256), string(jose.PS256), string(jose.EdDSA)}
	defaultTypes      = []string{"", "jwt", "at+jwt"} // empty: absent
	defaultTypesSVID  = []string{"", "jwt", "jose"}   // SPIFFE JWT-SVID §2.3
)

// trust is an exchange.Trust made ready, its defaults filled in.
type trust struct {
	exchange.Trust
	given  exchange.Trust // as loaded, to tell a change
	mapped []mappedClaim
	source *source   // nil: it has no keys
	review *reviewer // nil: never
	alone  *group    // of a session trust with an issuer: itself, and no other of that name
	asker  *asker    // of a session trust whose application is asked
}

// trustName identifies a trust.
type trustName struct{ tenant, name string }

// table is one loaded set of trusts. It never changes.
type table struct {
	byName   map[trustName]*trust
	byIssuer map[string]*group // exact `iss`
	byDomain map[string]*group // SPIFFE trust domain
	sessions map[string]*trust // name of a session trust, as in its token type
}

// compile builds the table. What has not changed since old keeps its keys, its
// reviews and the tokens it verified.
func (v *Verifier) compile(trusts []exchange.Trust, old *table) (*table, error) {
	t := &table{byName: map[trustName]*trust{}, byIssuer: map[string]*group{}, byDomain: map[string]*group{}, sessions: map[string]*trust{}}
	for _, given := range trusts {
		name := trustName{given.Tenant, given.Name}
		before := old.byName[name]
		if before == nil || !reflect.DeepEqual(before.given, given) {
			compiled, err := v.prepare(given, before)
			if err != nil {
				return nil, fmt.Errorf("trust %q: %w", given.Name, err)
			}
			before = compiled
		}
		t.byName[name] = before
		if given.Kind == exchange.TrustSession {
			t.sessions[given.Name] = before
			continue
		}
		groups, id := t.byIssuer, given.Issuer
		if given.Kind == exchange.TrustSPIFFE {
			groups, id = t.byDomain, given.TrustDomain
		}
		if groups[id] == nil {
			groups[id] = &group{meter: v.meter}
		}
		groups[id].trusts = append(groups[id].trusts, before)
	}
	return t, nil
}

func (v *Verifier) prepare(given exchange.Trust, before *trust) (*trust, error) {
	t := &trust{Trust: given, given: given}
	if len(t.Algorithms) == 0 {
		t.Algorithms = defaultAlgorithms
	}
	switch {
	case len(given.Types) == 0 && given.Kind == exchange.TrustSPIFFE:
		t.Types = defaultTypesSVID
	case len(given.Types) == 0:
		t.Types = defaultTypes
	default:
		t.Types = nil
		for _, typ := range given.Types {
			t.Types = append(t.Types, mediaType(typ))
		}
	}
	if t.Leeway == 0 {
		t.Leeway = defaultLeeway
	}
	var err error
	if t.mapped, err = compileClaims(given.Claims); err != nil {
		return nil, err
	}
	if given.Kind == exchange.TrustSession {
		if given.Session.Introspect != nil {
			if t.asker, err = v.newAsker(given); err != nil {
				return nil, err
			}
		}
		if given.Issuer == "" {
			return t, nil
		}
		t.alone = &group{meter: v.meter, trusts: []*trust{t}}
	}
	var api *apiServer
	if given.Review != nil {
		if api, err = newAPIServer(*given.Review, v.client); err != nil {
			return nil, err
		}
		if given.Review.Mode != exchange.ReviewNever {
			t.review = newReviewer(given, api, v.now, v.meter)
		}
	}
	if before != nil && before.given.Issuer == given.Issuer && before.given.Kind == given.Kind &&
		before.given.Keys == given.Keys && reflect.DeepEqual(before.given.Review, given.Review) {
		t.source = before.source
		return t, nil
	}
	t.source, err = v.openSource(given, api)
	return t, err
}

// openSource says where the keys come from.
func (v *Verifier) openSource(given exchange.Trust, api *apiServer) (*source, error) {
	s := &source{
		tenant: given.Tenant, trust: given.Name, kind: given.Kind, now: v.now, meter: v.meter,
		interval: fetchInterval, every: fetchEvery, stale: given.Keys.Stale,
	}
	if s.stale == 0 {
		s.stale = defaultStale
	}
	if name := given.Keys.File; name != "" {
		s.interval, s.every = fileInterval, min(fileEvery, s.stale)
		s.fetch = func(context.Context) ([]byte, error) { return readFile(name, maxKeyDocument) }
		return s, nil
	}
	s.every = min(fetchEvery, s.stale)
	plain := &fetcher{factory: v.client, caFile: given.Keys.CAFile}
	if _, err := plain.open(); err != nil {
		return nil, err
	}
	get := func(ctx context.Context, address string) (*fetcher, func(*http.Request) error) {
		if api != nil && api.serves(address) {
			if given.Keys.CAFile == "" {
				return api.fetcher, api.authorize
			}
			return plain, api.authorize
		}
		return plain, nil
	}
	if document := given.Keys.Document; document != "" {
		s.fetch = func(ctx context.Context) ([]byte, error) { return clientKeys(ctx, plain, document) }
		return s, nil
	}
	s.fetch = func(ctx context.Context) ([]byte, error) {
		address := given.Keys.URL
		if address == "" {
			f, authorize := get(ctx, given.Issuer)
			var err error
			if address, err = discover(ctx, f, given.Issuer, authorize); err != nil {
				return nil, err
			}
			if authorize != nil {
				address = api.ownKeys(address)
			}
		}
		f, authorize := get(ctx, address)
		return f.get(ctx, address, authorize)
	}
	return s, nil
}

// accepts reports whether the trust's tokens may be signed by the algorithm.
func (t *trust) accepts(algorithm jose.SignatureAlgorithm) bool {
	return slices.Contains(t.Algorithms, string(algorithm))
}

// build makes the subject of a token that has passed every check.
func (t *trust) build(c claims, k *key, fingerprint [sha256.Size]byte) (exchange.Subject, error) {
	s := exchange.Subject{
		Tenant: t.Tenant, Trust: t.Name, TrustHash: t.Hash, Kind: t.Kind, Issuer: c.issuer, ID: c.subject,
		Issued: c.issued, Expires: c.expires, JTI: c.jti, KeyID: k.id, Audience: c.audience,
		Fingerprint: fingerprint,
	}
	if err := c.readActors(t.Name); err != nil {
		return s, err
	}
	s.Asserted, s.MayAct = c.actors, c.mayAct
	var err error
	switch t.Kind {
	case exchange.TrustKubernetes:
		err = t.kubernetes(c, &s)
	case exchange.TrustOIDC:
		err = t.oidc(c, &s)
	case exchange.TrustSPIFFE:
		err = t.spiffe(c, &s)
	case exchange.TrustSession:
		t.sessionSubject(c.subject, &s)
	default:
		err = fmt.Errorf("trust %q is of the unknown kind %q", t.Name, t.Kind)
	}
	if err != nil {
		return s, err
	}
	if err := t.mapClaims(c.all, s.Attributes); err != nil {
		return s, err
	}
	s.Record = t.record(s.Attributes)
	if t.SingleUse {
		s.Once = t.once(c)
	}
	return s, nil
}
