package subject

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// registeredClaims are the names on which a decision hangs; they may not come in
// another case.
var registeredClaims = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "azp", "client_id", "cnf", "act", "may_act",
}

const maxAudiences = 64

// claims are the registered claims (RFC 7519 §4.1) with their types checked.
type claims struct {
	all       map[string]any
	issuer    string
	subject   string
	audience  []string
	expires   time.Time
	notBefore time.Time // zero: absent
	issued    time.Time // zero: absent
	jti       string
	party     string // `azp`, else `client_id`
	bound     bool   // has `cnf`
	actors    []exchange.Actor
	mayAct    *exchange.MayAct
}

// readClaims checks types. It decides nothing yet: the signature is not checked.
func readClaims(all map[string]any) (claims, error) {
	c := claims{all: all}
	if err := refuseVariants(all, registeredClaims); err != nil {
		return c, err
	}
	var err error
	for _, f := range []struct {
		name string
		into *string
	}{{"iss", &c.issuer}, {"sub", &c.subject}, {"jti", &c.jti}} {
		if *f.into, err = text(all, f.name); err != nil {
			return c, err
		}
	}
	azp, err := text(all, "azp")
	if err != nil {
		return c, err
	}
	if c.party, err = text(all, "client_id"); err != nil {
		return c, err
	}
	if azp != "" {
		c.party = azp
	}
	for _, f := range []struct {
		name string
		into *time.Time
	}{{"exp", &c.expires}, {"nbf", &c.notBefore}, {"iat", &c.issued}} {
		if *f.into, err = moment(all, f.name); err != nil {
			return c, err
		}
	}
	if c.audience, err = audience(all); err != nil {
		return c, err
	}
	_, c.bound = all["cnf"]
	if c.subject == "" {
		return c, malformed(errors.New(`it has no "sub"`))
	}
	if c.expires.IsZero() {
		return c, malformed(errors.New(`it has no "exp"`))
	}
	return c, nil
}

// moment reads a NumericDate (RFC 7519 §2); absent is the zero time. Fractions are
// cut off, so that `exp` comes no later than it says.
func moment(all map[string]any, name string) (time.Time, error) {
	value, present := all[name]
	if !present {
		return time.Time{}, nil
	}
	var seconds int64
	switch n := value.(type) {
	case int64:
		seconds = n
	case float64:
		if n > 0 && n < math.MaxInt32*256.0 {
			seconds = int64(n)
		}
	case json.Number: // larger than any date
	}
	if seconds <= 0 || seconds > 253402300799 { // the last second of the year 9999
		return time.Time{}, malformed(fmt.Errorf("%q must be a number of seconds since 1970", name))
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func audience(all map[string]any) ([]string, error) {
	value, present := all["aud"]
	if !present {
		return nil, malformed(errors.New(`it has no "aud"`))
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		s, ok := e.(string)
		if !ok || s == "" {
			return nil, malformed(errors.New(`"aud" must be a string or an array of strings`))
		}
		out = append(out, s)
	}
	if len(out) == 0 || len(out) > maxAudiences {
		return nil, malformed(fmt.Errorf(`"aud" must name 1 to %d audiences`, maxAudiences))
	}
	return out, nil
}

// checkTimes holds at every use, from the cache or not. `exp` has no leeway.
func (t *trust) checkTimes(now, expires, notBefore, issued time.Time) error {
	switch {
	case !now.Before(expires):
		return errExpired
	case notBefore.After(now.Add(t.Leeway)):
		return refused("the token is not valid yet (nbf)")
	case issued.After(now.Add(t.Leeway)):
		return refused("the token was issued in the future (iat): check the issuer's clock")
	case t.MaxAge > 0 && issued.IsZero():
		return refused("the token does not say when it was issued (iat), which is needed here")
	case t.MaxAge > 0 && now.Sub(issued) > t.MaxAge:
		return refused("the token is too old: get a fresh one")
	}
	return nil
}

var errExpired = refused("the token has expired: get a fresh one")

// check is what every token for us must pass once its signature has verified.
func (t *trust) check(p presented, c claims, now time.Time) error {
	if err := t.checkUse(p, c, now); err != nil {
		return err
	}
	if !slices.ContainsFunc(c.audience, func(a string) bool { return slices.Contains(t.Audiences, a) }) {
		return refused("the token is for another audience: ask its issuer for one that is meant for this service")
	}
	if t.SingleUse && c.jti == "" {
		return refused(`the token has no "jti", which is needed here`)
	}
	return nil
}

// checkUse is the part of check that is the same whomever the token is for.
func (t *trust) checkUse(p presented, c claims, now time.Time) error {
	if !slices.Contains(t.Types, p.typ) {
		return refused("the token's typ is not accepted: send an ID token or an access token")
	}
	if err := t.checkTimes(now, c.expires, c.notBefore, c.issued); err != nil {
		return err
	}
	if c.bound {
		return errBound
	}
	return nil
}

// readActors reads `act` and `may_act` (RFC 8693 §4.1, §4.4). What we signed
// ourselves was held to the caps then, by names that are longer in the token.
func (c *claims) readActors(by string) error {
	level, nested := c.all["act"]
	size := 0
	for nested {
		object, ok := level.(map[string]any)
		if !ok {
			return malformed(errors.New(`"act" must be an object`))
		}
		id, err := text(object, "sub")
		if err == nil && id == "" {
			id, err = text(object, "client_id")
		}
		if err != nil {
			return err
		}
		issuer, err := text(object, "iss")
		if err != nil {
			return err
		}
		if id == "" {
			return malformed(errors.New(`"act" must say who acts, by "sub"`))
		}
		if issuer == "" {
			issuer = c.issuer
		}
		size += len(id) + len(issuer)
		if by != exchange.SelfTrust && (len(c.actors) == exchange.MaxActors || size > exchange.MaxActorsBytes) {
			return refused(fmt.Sprintf("the token's delegation chain (act) is too long: %d actors at most, with %d bytes of names", exchange.MaxActors, exchange.MaxActorsBytes))
		}
		c.actors = append(c.actors, exchange.Actor{Name: id, Issuer: issuer, ID: id, AssertedBy: by})
		level, nested = object["act"]
	}
	value, present := c.all["may_act"]
	if !present {
		return nil
	}
	object, ok := value.(map[string]any)
	if !ok {
		return malformed(errors.New(`"may_act" must be an object`))
	}
	id, err := text(object, "sub")
	if err != nil {
		return err
	}
	issuer, err := text(object, "iss")
	if err != nil {
		return err
	}
	if id == "" {
		return malformed(errors.New(`"may_act" must say who may act, by "sub"`))
	}
	if issuer == "" {
		issuer = c.issuer
	}
	c.mayAct = &exchange.MayAct{Issuer: issuer, ID: id}
	return nil
}
