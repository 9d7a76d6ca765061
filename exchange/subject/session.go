package subject

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

var errNoSessions = refused("no trust takes sessions of this token type")

// verifySession proves a session by the trust that its token type names (S37): by its
// signature where the cookie is a JWT, by asking the application where the trust says
// so, by both where it says both. The subject is then good for no longer than either
// says. No other way leads to such a trust.
func (v *Verifier) verifySession(ctx context.Context, token exchange.Token, name string, now time.Time) (exchange.Subject, error) {
	t := v.table.Load().sessions[name]
	if t == nil {
		return exchange.Subject{}, errNoSessions
	}
	raw := token.Value.Reveal()
	cookie, value, err := splitCookie(raw, t.Session.Cookies)
	if err != nil {
		return exchange.Subject{}, err
	}
	s := exchange.Subject{Fingerprint: fingerprintOf(raw)}
	if t.alone != nil {
		if s, err = v.signedSession(ctx, t, raw, value, now); err != nil {
			return exchange.Subject{}, err
		}
	}
	if t.asker != nil {
		answer, err := t.asker.ask(ctx, cookie, value, s.Fingerprint)
		if err != nil {
			return exchange.Subject{}, err
		}
		if s, err = t.standing(answer, s, now); err != nil {
			return exchange.Subject{}, err
		}
	}
	s.Attributes = maps.Clone(s.Attributes) // what is remembered is shared
	s.Attributes["cookie"] = []string{cookie}
	if s.Record = maps.Clone(s.Record); s.Record == nil {
		s.Record = exchange.Attributes{}
	}
	s.Record["cookie"] = []string{cookie}
	s.Clientless = exchange.ClientlessWithActor
	return s, nil
}

// signedSession verifies a cookie that is a JWT like any token, with the keys of its
// trust alone.
func (v *Verifier) signedSession(ctx context.Context, t *trust, raw, jwt string, now time.Time) (exchange.Subject, error) {
	known := fingerprintOf(t.Name + "\x00" + raw)
	found, hit := v.sessions.get(known)
	if hit && !v.stands(ctx, found, now) {
		v.sessions.drop(known)
		hit = false
	}
	v.meter.Looked(hit)
	if hit {
		return found.subject, nil
	}
	if err := checkForm(jwt); err != nil {
		return exchange.Subject{}, err
	}
	p, err := decode(jwt)
	if err != nil {
		return exchange.Subject{}, err
	}
	c, err := readClaims(p.claims)
	switch {
	case err != nil:
		return exchange.Subject{}, err
	case !now.Before(c.expires):
		return exchange.Subject{}, errExpired
	case c.issuer != t.Issuer:
		return exchange.Subject{}, refused("the session is not of the issuer that its trust names")
	}
	_, k, err := t.alone.verify(ctx, &p)
	if err != nil {
		return exchange.Subject{}, err
	}
	if err := t.check(p, c, now); err != nil {
		return exchange.Subject{}, err
	}
	s, err := t.build(c, k, fingerprintOf(raw))
	if err != nil {
		return exchange.Subject{}, err
	}
	v.sessions.put(known, &verified{subject: s, trust: t, key: k, notBefore: c.notBefore})
	return s, nil
}

// sessionSubject gives a session its name and its attributes, from what its issuer or
// its application says of it.
func (t *trust) sessionSubject(id string, s *exchange.Subject) {
	s.Name = exchange.CanonicalName("session", t.Name, id)
	s.Attributes = exchange.Attributes{"sub": {id}}
}

// standing is the subject of a session by which its application stands. s is the one
// of its signature, where it has one: then the two must agree on who it is.
func (t *trust) standing(a answered, s exchange.Subject, now time.Time) (exchange.Subject, error) {
	if !now.Before(a.expires) {
		return s, errLoggedOut
	}
	if t.alone != nil {
		if a.subject != "" && a.subject != s.ID {
			return s, refused("the session's application says that it is of somebody else than its signature does")
		}
		if !a.ends.IsZero() && a.ends.Before(s.Expires) {
			s.Expires = a.ends
		}
		return s, nil
	}
	s.Tenant, s.Trust, s.TrustHash, s.Kind = t.Tenant, t.Name, t.Hash, t.Kind
	s.Issuer, s.ID, s.Expires = t.Session.Introspect.URL, a.subject, a.expires
	t.sessionSubject(a.subject, &s)
	if err := t.mapClaims(a.all, s.Attributes); err != nil {
		return s, err
	}
	s.Record = t.record(s.Attributes)
	return s, nil
}

// errLoggedOut is one answer for whatever the application says that is not yes.
var errLoggedOut = refused("the session does not stand any more: log in to the application again")

// checkSession finds what is wrong with a trust of kind session.
func (v *Verifier) checkSession(c *checker) {
	t := c.trust
	switch {
	case t.Kind != exchange.TrustSession:
		if t.Session != nil {
			c.fault("session", "only a session trust has cookies")
		}
		return
	case t.Session == nil || len(t.Session.Cookies) == 0:
		c.fault("cookie_names", "name the cookies that may be presented: no other is read")
		return
	}
	seen := map[string]bool{}
	for _, name := range t.Session.Cookies {
		switch {
		case !isCookieName(name):
			c.fault("cookie_names", "%q is not a cookie's name (RFC 6265 section 4.1.1)", name)
		case seen[name]:
			c.fault("cookie_names", "%q stands there twice", name)
		}
		seen[name] = true
	}
	if len(t.Session.Presenters) == 0 {
		c.fault("presenters", "say who may present sessions: a copy of a cookie alone is not enough (S37)")
	}
	if t.SingleUse {
		c.fault("single_use", "a session is presented again and again: leave it out")
	}
	if t.Clientless {
		c.fault("clientless", "presenters says who may come: leave it out")
	}
	switch {
	case t.Issuer == "" && t.Session.Introspect == nil:
		c.fault("introspect", "say how a session is verified: by issuer, where the cookie is a JWT, or by introspect")
	case t.Issuer == "":
		for name, said := range map[string]bool{
			"audiences": len(t.Audiences) > 0, "algorithms": len(t.Algorithms) > 0, "types": len(t.Types) > 0,
			"keys": t.Keys != exchange.KeySource{}, "leeway": t.Leeway != 0, "max_age": t.MaxAge != 0,
		} {
			if said {
				c.fault(name, "it is for cookies that are a JWT: give the issuer too, or leave it out")
			}
		}
	default:
		v.checkIssuer(c)
	}
	if t.Session.Introspect != nil {
		c.checkIntrospection(*t.Session.Introspect)
	}
	slices.SortFunc(c.faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
}

// checkIntrospection finds what is wrong in how the application is asked.
func (c *checker) checkIntrospection(i exchange.Introspection) {
	if err := checkURL(i.URL); err != nil {
		c.fault("introspect.url", "%v", err)
	}
	switch i.Method {
	case "POST":
	case "GET":
		if i.ClientID != "" {
			c.fault("introspect.client_id", "with GET the cookie alone is sent: a status of 401 would not say whose fault it is")
		}
	default:
		c.fault("introspect.method", "%q is not one of POST, GET", i.Method)
	}
	if (i.ClientID == "") != (i.ClientSecret == "") {
		c.fault("introspect.client_secret", "client_id and client_secret stand together")
	}
	for name, path := range map[string]string{"active": i.Active, "subject": i.Subject, "expires": i.Expires} {
		if path == "" && name != "subject" {
			continue
		}
		if _, err := compilePath(path); err != nil {
			c.fault("introspect."+name, "%v", err)
		}
	}
	if i.Cache < 0 || i.Cache > maxAnswerAge {
		c.fault("introspect.cache", "it must be between 0 and %v: a session that was ended is taken for so long", maxAnswerAge)
	}
	if i.Lifetime < minSession || i.Lifetime > maxSession {
		c.fault("introspect.lifetime", "it must be between %v and %v", minSession, maxSession)
	}
	if i.PerSecond < 1 || i.PerSecond > maxPerSecond {
		c.fault("introspect.per_second", "it must be between 1 and %d", maxPerSecond)
	}
}

// checkSessions holds sessions apart from other tokens: with an audience in common, a
// cookie would be a token that needs no presenter.
func checkSessions(trusts []exchange.Trust) []error {
	var faults []error
	seen := map[string]string{}
	for _, a := range trusts {
		if a.Kind != exchange.TrustSession {
			continue
		}
		c := &checker{trust: a}
		if tenant, twice := seen[a.Name]; twice && tenant != a.Tenant {
			c.fault("name", "another tenant's sessions have the same token type")
		}
		seen[a.Name] = a.Tenant
		for _, b := range trusts {
			if a.Issuer == "" || b.Issuer != a.Issuer || b.Kind == exchange.TrustSession {
				continue
			}
			for _, both := range a.Audiences {
				for _, other := range b.Audiences {
					if both == other {
						c.fault("audiences", "trust %q takes the same tokens, for the audience %s, from anybody: its audiences must be others", b.Name, fmt.Sprintf("%q", both))
					}
				}
			}
		}
		faults = append(faults, c.faults...)
	}
	return faults
}
