package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Reason says what a cloud would refuse an assertion for.
type Reason uint8

// The reasons, in the order in which they are looked at.
const (
	ReasonMalformed Reason = iota + 1
	ReasonAlgorithm        // signed with one that this cloud does not take
	ReasonKey              // `kid` is missing, or not in the issuer's key set
	ReasonSignature
	ReasonIssuer
	ReasonAudience
	ReasonExpired
	ReasonNotYet   // `iat` or `nbf` is in the future
	ReasonTooLong  // lives longer, or is older, than this cloud takes
	ReasonSubject  // `sub` is missing or too long
	ReasonNoID     // no `jti`, which this cloud needs
	ReasonReplayed // its `jti` was used before
)

// Fault is why an assertion is refused.
type Fault struct {
	Reason Reason
	Detail string // for a person; it holds no token
}

func (f *Fault) Error() string { return f.Detail }

// Expect is what one cloud asks of an assertion. Zero values ask nothing.
type Expect struct {
	Audiences  []string                  // `aud` is exactly one of these
	Algorithms []jose.SignatureAlgorithm // empty: RS256
	MaxSubject int                       // bytes of `sub`
	MaxAge     time.Duration             // now - `iat`
	MaxLife    time.Duration             // `exp` - `iat`
	SingleUse  bool                      // each `jti` once
	List       bool                      // `aud` may be a list of one, as clusters have it
}

// Claims are those of a verified assertion.
type Claims struct {
	Issuer   string
	Subject  string
	Audience string
	ID       string
	Issued   time.Time
	Expires  time.Time
	All      map[string]any

	listed bool // `aud` was a list
}

// Assertions verifies assertions of the world's issuer. It is safe for concurrent
// use.
type Assertions struct {
	world World

	mu    sync.Mutex
	used  map[string]time.Time // `jti` → `exp`
	swept time.Time
}

// NewAssertions makes a verifier that has seen no assertion yet.
func NewAssertions(w World) *Assertions {
	return &Assertions{world: w, used: map[string]time.Time{}}
}

// Verify checks an assertion. An error is a *Fault.
func (a *Assertions) Verify(token string, expect Expect) (Claims, error) {
	algorithms := expect.Algorithms
	if len(algorithms) == 0 {
		algorithms = []jose.SignatureAlgorithm{jose.RS256}
	}
	payload, err := a.open(token, algorithms)
	if err != nil {
		return Claims{}, err
	}
	c, err := read(payload)
	if err != nil {
		return Claims{}, err
	}
	if c.listed && !expect.List {
		return Claims{}, &Fault{ReasonMalformed, "the assertion's aud is a list"}
	}
	return c, a.check(c, expect)
}

// open verifies the signature by the key that `kid` names: clouds try no others.
func (a *Assertions) open(token string, algorithms []jose.SignatureAlgorithm) ([]byte, error) {
	every := []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
	signed, err := jose.ParseSignedCompact(token, every)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, &Fault{ReasonMalformed, "the assertion is no signed JWT"}
	}
	header := signed.Signatures[0].Header
	if !slices.Contains(algorithms, jose.SignatureAlgorithm(header.Algorithm)) {
		return nil, &Fault{ReasonAlgorithm, "the assertion is signed with " + header.Algorithm + ", which is not taken here"}
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(a.world.Keys(), &set); err != nil {
		return nil, &Fault{ReasonKey, "the issuer's key set cannot be read"}
	}
	keys := set.Key(header.KeyID)
	if header.KeyID == "" || len(keys) == 0 {
		return nil, &Fault{ReasonKey, "the issuer publishes no key with this kid"}
	}
	payload, err := signed.Verify(keys[0].Key)
	if err != nil {
		return nil, &Fault{ReasonSignature, "the assertion's signature does not verify"}
	}
	return payload, nil
}

// read takes the claims of a payload whose signature has verified.
func read(payload []byte) (Claims, error) {
	var c struct {
		Issuer    string   `json:"iss"`
		Subject   string   `json:"sub"`
		Audience  audience `json:"aud"`
		ID        string   `json:"jti"`
		Issued    float64  `json:"iat"`
		Expires   float64  `json:"exp"`
		NotBefore float64  `json:"nbf"`
	}
	all := map[string]any{}
	if json.Unmarshal(payload, &c) != nil || json.Unmarshal(payload, &all) != nil {
		return Claims{}, &Fault{ReasonMalformed, "the assertion's claims are not of their types"}
	}
	if c.Issued == 0 || c.Expires == 0 {
		return Claims{}, &Fault{ReasonMalformed, "the assertion has no iat or no exp"}
	}
	return Claims{
		Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience.name, listed: c.Audience.listed, ID: c.ID,
		Issued: time.Unix(int64(c.Issued), 0), Expires: time.Unix(int64(c.Expires), 0), All: all,
	}, nil
}

// audience is `aud` (RFC 7519 §4.1.3): a text, or a list of one.
type audience struct {
	name   string
	listed bool
}

// UnmarshalJSON reads either form.
func (a *audience) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &a.name) == nil {
		return nil
	}
	var list []string
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	if len(list) != 1 {
		return fmt.Errorf("aud is a list of %d", len(list))
	}
	a.name, a.listed = list[0], true
	return nil
}

// skew is how far clouds let clocks be apart.
const skew = time.Minute

func (a *Assertions) check(c Claims, expect Expect) error {
	now := a.world.Now()
	switch {
	case c.Issuer != a.world.Issuer:
		return &Fault{ReasonIssuer, fmt.Sprintf("nobody trusts the issuer %q here", c.Issuer)}
	case len(expect.Audiences) > 0 && !slices.Contains(expect.Audiences, c.Audience):
		return &Fault{ReasonAudience, fmt.Sprintf("the assertion is for the audience %q", c.Audience)}
	case !now.Before(c.Expires):
		return &Fault{ReasonExpired, "the assertion has expired"}
	case c.Issued.After(now.Add(skew)):
		return &Fault{ReasonNotYet, "the assertion is issued in the future"}
	case expect.MaxAge > 0 && now.Sub(c.Issued) > expect.MaxAge, expect.MaxLife > 0 && c.Expires.Sub(c.Issued) > expect.MaxLife:
		return &Fault{ReasonTooLong, "the assertion lives too long, or is too old"}
	case c.Subject == "", expect.MaxSubject > 0 && len(c.Subject) > expect.MaxSubject:
		return &Fault{ReasonSubject, fmt.Sprintf("sub has %d bytes", len(c.Subject))}
	case expect.SingleUse && c.ID == "":
		return &Fault{ReasonNoID, "the assertion has no jti"}
	case expect.SingleUse && !a.burn(c, now):
		return &Fault{ReasonReplayed, "the assertion was used before"}
	}
	return nil
}

// burn reports whether the assertion is new.
func (a *Assertions) burn(c Claims, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.swept) > time.Minute {
		for id, expires := range a.used {
			if !now.Before(expires) {
				delete(a.used, id)
			}
		}
		a.swept = now
	}
	if _, used := a.used[c.ID]; used {
		return false
	}
	a.used[c.ID] = c.Expires
	return true
}
