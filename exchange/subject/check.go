package subject

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
)

// ownTypes are the `typ` of what Cambio signs, and of proofs and messages that
// speak for nobody. No trust may accept them as a subject (S7).
var ownTypes = []string{
	"dpop+jwt", "oauth-id-jag+jwt", "id-jag+jwt", "cambio-assertion+jwt", "cambio-session+jwt",
	"logout+jwt", "secevent+jwt", "token-introspection+jwt", "oauth-authz-req+jwt",
	"oauth-client-attestation+jwt", "oauth-client-attestation-pop+jwt", clientType,
}

// clientType is the `typ` of a client's assertion.
const clientType = "client-authentication+jwt"

// cloudAudiences are what clouds expect in the tokens they take (S8). A trust with
// one of them would let a token meant for that cloud be exchanged by whoever sees
// it there, and the other way round.
var cloudAudiences = regexp.MustCompile(`(?i)^(?:` + strings.Join([]string{
	`sts\.amazonaws\.com(?:\.cn)?`, `sts\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?`, `pods\.eks\.amazonaws\.com`,
	`https://signin\.aws\.amazon\.com/.*`,
	`api://azureadtokenexchange(?:china|usgov|usnat|ussec)?`,
	`(?:https:)?//iam\.googleapis\.com/.*`, `https://(?:sts|iamcredentials|oauth2)\.googleapis\.com(?:/.*)?`,
	`https://[a-z0-9.-]+\.identity\.oraclecloud\.com(?::443)?(?:/.*)?`,
	`https://iam(?:\.[a-z0-9-]+)*\.cloud\.ibm\.com(?:/.*)?`,
	`https://api\.anthropic\.com(?:/.*)?`, `https://(?:api|auth)\.openai\.com(?:/.*)?`,
}, "|") + `)$`)

var attributeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// fixedAttributes are what a kind's own claims say about who the subject is; a
// mapping may not replace them.
var fixedAttributes = map[exchange.TrustKind][]string{
	exchange.TrustKubernetes: {"sub", "namespace", "service_account", "uid", "pod", "pod_uid", "node"},
	exchange.TrustOIDC:       {"sub", "azp"},
	exchange.TrustSPIFFE:     {"id", "path", "trust_domain"},
	exchange.TrustSession:    {"sub", "cookie"},
}

// checker gathers the faults of one trust.
type checker struct {
	trust  exchange.Trust
	faults []error
}

func (c *checker) fault(field, format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf("trust %q: %s: %s", c.trust.Name, field, fmt.Sprintf(format, args...)))
}

// Check returns every fault in the trusts, each naming its trust and field. It
// reads no file and asks no network.
func (v *Verifier) Check(trusts []exchange.Trust) []error {
	var faults []error
	seen := map[trustName]bool{}
	for _, t := range trusts {
		c := &checker{trust: t}
		if name := (trustName{t.Tenant, t.Name}); seen[name] {
			c.fault("name", "another trust has it already")
		} else {
			seen[name] = true
		}
		v.checkIdentity(c)
		v.checkKeys(c)
		c.checkTokens(v.forClients)
		c.checkClaims()
		c.checkReview()
		v.checkSession(c)
		faults = append(faults, c.faults...)
	}
	return append(append(faults, checkShared(trusts)...), checkSessions(trusts)...)
}

func (v *Verifier) checkIdentity(c *checker) {
	t := c.trust
	switch {
	case t.Name == "":
		c.fault("name", "it must not be empty")
	case t.Name == exchange.SelfTrust && !v.forClients:
		c.fault("name", "%q is the name of what Cambio itself asserts (S7): use another", t.Name)
	}
	switch t.Kind {
	case exchange.TrustKubernetes, exchange.TrustOIDC:
		if t.TrustDomain != "" {
			c.fault("trust_domain", "only a spiffe trust has one")
		}
		v.checkIssuer(c)
	case exchange.TrustSPIFFE:
		if t.Issuer != "" {
			c.fault("issuer", "a spiffe trust is picked by trust_domain: leave issuer out")
		}
		if !isTrustDomain(t.TrustDomain) {
			c.fault("trust_domain", "%q is not a SPIFFE trust domain: lower-case letters, digits, dots, dashes and underscores, without spiffe://", t.TrustDomain)
		}
		if t.Keys.URL == "" && t.Keys.File == "" {
			c.fault("keys", "a spiffe trust needs keys.url or keys.file: the bundle, or a JWK Set")
		}
	case exchange.TrustSession: // checkSession
	default:
		c.fault("kind", "%q is not one of kubernetes, oidc, spiffe, session", t.Kind)
	}
}

func (v *Verifier) checkIssuer(c *checker) {
	t := c.trust
	switch {
	case t.Issuer == "":
		c.fault("issuer", "it must not be empty: write the exact iss of its tokens")
	case v.isOurs(t.Issuer):
		c.fault("issuer", "it is Cambio itself, whose tokens are no subjects (S7)")
	case t.Keys.URL == "" && t.Keys.File == "":
		if err := checkURL(t.Issuer); err != nil {
			c.fault("issuer", "%v; or say where its keys are, by keys.url or keys.file", err)
		}
	}
}

// isOurs compares issuers the way that hosts are compared, so that another
// spelling of our own does not slip by.
func (v *Verifier) isOurs(issuer string) bool {
	return slices.ContainsFunc(v.ownIssuers, func(own string) bool {
		own, theirs := normal(own), normal(issuer)
		return theirs == own || theirs == own+"/federation"
	})
}

// normal lowers scheme and host and drops the default port and a final slash.
func normal(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	return origin(u) + strings.TrimRight(u.EscapedPath(), "/")
}

func (v *Verifier) checkKeys(c *checker) {
	k := c.trust.Keys
	if k.URL != "" && k.File != "" {
		c.fault("keys", "url and file exclude each other")
	}
	if k.URL != "" {
		if err := checkURL(k.URL); err != nil {
			c.fault("keys.url", "%v", err)
		}
		for _, own := range v.ownIssuers {
			if own := normal(own); strings.HasPrefix(normal(k.URL)+"/", own+"/") {
				c.fault("keys.url", "these are Cambio's own keys (S7)")
				break
			}
		}
	}
	if k.Stale != 0 && k.Stale < minStale {
		c.fault("keys.stale", "it must be %v at least", minStale)
	}
}

func (c *checker) checkTokens(forClients bool) {
	t := c.trust
	if len(t.Audiences) == 0 && (t.Kind != exchange.TrustSession || t.Issuer != "") {
		c.fault("audiences", "name at least one: else tokens meant for others would be taken")
	}
	for _, a := range t.Audiences {
		switch {
		case a == "":
			c.fault("audiences", "an audience must not be empty")
		case cloudAudiences.MatchString(a):
			c.fault("audiences", "%q is a cloud's: tokens for it must not be taken here (S8); use a name of your own", a)
		}
	}
	for _, a := range t.Algorithms {
		if !slices.ContainsFunc(supported, func(s jose.SignatureAlgorithm) bool { return string(s) == a }) {
			c.fault("algorithms", "%q is not one of %v", a, supported)
		}
	}
	for _, typ := range t.Types {
		if typ := mediaType(typ); slices.Contains(ownTypes, typ) && !(forClients && typ == clientType) {
			c.fault("types", "%q is never a subject (S7)", typ)
		}
	}
	if t.Leeway < 0 || t.Leeway > maxLeeway {
		c.fault("leeway", "it must be between 0 and %v", maxLeeway)
	}
	if t.MaxAge < 0 {
		c.fault("max_age", "it must not be negative")
	}
	if len(t.ClientlessAZP) > 0 && t.Kind != exchange.TrustOIDC {
		c.fault("clientless.azp", "only an oidc trust has authorized parties")
	}
	if t.IDJAG && t.Kind != exchange.TrustOIDC {
		c.fault("id_jag", "only an oidc trust has identity assertion grants")
	}
	if len(t.ClientlessAZP) > 0 && !t.Clientless {
		c.fault("clientless.azp", "it stands without clientless")
	}
	if slices.Contains(t.ClientlessAZP, "") {
		c.fault("clientless.azp", "an authorized party must not be empty")
	}
}

func (c *checker) checkClaims() {
	for attribute, path := range c.trust.Claims {
		switch {
		case !attributeName.MatchString(attribute):
			c.fault("claims."+attribute, "a name has lower-case letters, digits and underscores, and begins with a letter")
		case slices.Contains(fixedAttributes[c.trust.Kind], attribute):
			c.fault("claims."+attribute, "it says who the subject is and cannot be mapped: use another name")
		}
		if _, err := compilePath(path); err != nil {
			c.fault("claims."+attribute, "%v", err)
		}
	}
	slices.SortFunc(c.faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
}

func (c *checker) checkReview() {
	r := c.trust.Review
	if r == nil {
		return
	}
	if c.trust.Kind != exchange.TrustKubernetes {
		c.fault("review", "only a kubernetes trust has one")
	}
	switch r.Mode {
	case exchange.ReviewNever, exchange.ReviewCached, exchange.ReviewAlways:
	default:
		c.fault("review.mode", "%q is not one of never, cached, always", r.Mode)
	}
	if r.Server != "" {
		if err := checkURL(r.Server); err != nil {
			c.fault("review.server", "%v", err)
		}
	}
	if r.TTL < 0 || r.TTL > maxReviewTTL {
		c.fault("review.ttl", "it must be between 0 and %v", maxReviewTTL)
	}
}

// checkShared holds S6 as far as it can be seen without the keys: trusts of one
// issuer must each say where their own keys are, and not the same place.
func checkShared(trusts []exchange.Trust) []error {
	var faults []error
	for i, a := range trusts {
		for _, b := range trusts[:i] {
			if a.Kind == exchange.TrustSession || b.Kind == exchange.TrustSession { // picked by their token types
				continue
			}
			if a.Issuer != b.Issuer || a.TrustDomain != b.TrustDomain || (a.Kind == exchange.TrustSPIFFE) != (b.Kind == exchange.TrustSPIFFE) {
				continue
			}
			c := &checker{trust: a}
			switch {
			case a.Issuer == "" && a.TrustDomain == "": // said already
			case !pinned(a) || !pinned(b):
				c.fault("keys", "trust %q has the same issuer: each of the two needs keys.url or keys.file of its own (S6)", b.Name)
			case a.Keys.URL == b.Keys.URL && a.Keys.File == b.Keys.File:
				c.fault("keys", "trust %q has the same issuer and the same keys: nothing could tell their tokens apart (S6)", b.Name)
			}
			faults = append(faults, c.faults...)
		}
	}
	return faults
}

func pinned(t exchange.Trust) bool { return t.Keys.URL != "" || t.Keys.File != "" }
