package subject

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
)

// Bounds on what is looked at before a signature is.
const (
	maxToken = 32 << 10 // bytes; the tokens of people with hundreds of groups stay below 16 KiB
	maxName  = 512      // bytes of `kid`, `jti` and every other name that is kept
)

// supported are the algorithms that a trust may accept. There is no `none`, and no
// HMAC: a shared secret would make every holder of it an issuer.
var supported = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// presented is a token that was decoded and not yet believed.
type presented struct {
	raw       string
	header    string // encoded
	payload   []byte
	signature []byte
	algorithm jose.SignatureAlgorithm
	keyID     string
	typ       string // lower case, without "application/"; empty: absent
	claims    map[string]any
}

// malformed is a refusal of the token's form. reason is safe for anybody.
func malformed(reason error) error {
	return exchange.Fault(exchange.KindInvalidSubject, "the token is malformed: "+reason.Error(), nil)
}

func refused(advice string) error {
	return exchange.Fault(exchange.KindInvalidSubject, advice, nil)
}

// checkForm looks at length and dots only: whatever is sent, this much is cheap.
func checkForm(raw string) error {
	switch {
	case raw == "":
		return refused("the token is empty")
	case len(raw) > maxToken:
		return refused(fmt.Sprintf("the token is longer than %d bytes", maxToken))
	case raw[0] == '{':
		return malformed(errors.New("send the compact serialization (RFC 7515 section 7.1), not JSON"))
	}
	switch strings.Count(raw, ".") {
	case 2:
	case 4:
		return malformed(errors.New("it is encrypted (JWE): send a signed token"))
	default:
		return malformed(errors.New("a signed token has three parts with a dot between them (RFC 7515 section 7.1)"))
	}
	return nil
}

// decode reads header and claims once. Whatever is used later comes from here and
// from nowhere else (S9).
func decode(raw string) (presented, error) {
	first := strings.IndexByte(raw, '.')
	second := first + 1 + strings.IndexByte(raw[first+1:], '.')
	p := presented{raw: raw, header: raw[:first]}
	_, header, err := decodePart(p.header)
	if err != nil {
		return presented{}, malformed(fmt.Errorf("its header: %w", err))
	}
	if err := p.readHeader(header); err != nil {
		return presented{}, err
	}
	if p.payload, p.claims, err = decodePart(raw[first+1 : second]); err != nil {
		return presented{}, malformed(fmt.Errorf("its claims: %w", err))
	}
	if p.signature, err = decodeBase64(raw[second+1:]); err != nil {
		return presented{}, malformed(fmt.Errorf("its signature: %w", err))
	}
	return p, nil
}

func decodePart(part string) (text []byte, object map[string]any, err error) {
	if text, err = decodeBase64(part); err != nil {
		return nil, nil, err
	}
	object, err = decodeObject(string(text))
	return text, object, err
}

var errBase64 = errors.New("it is not canonical base64url without padding (RFC 7515 section 2)")

// decodeBase64 admits one spelling of each value: no padding, no stray bits in the
// last character, no line breaks (which Go's decoder passes over even when
// strict). Else one token would have many fingerprints.
func decodeBase64(part string) ([]byte, error) {
	if part == "" || strings.IndexByte(part, '\n') >= 0 || strings.IndexByte(part, '\r') >= 0 {
		return nil, errBase64
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, errBase64
	}
	return text, nil
}

// forbiddenHeaders change what the rest of the token means, in ways that we do
// not implement. `jku`, `x5u`, `jwk` and `x5c` are not among them: some issuers
// put them into every token. They are ignored, never followed, never believed.
var forbiddenHeaders = []string{"crit", "b64", "zip", "enc"}

// registeredHeaders are the names that may not come in another case.
var registeredHeaders = append([]string{"alg", "kid", "typ"}, forbiddenHeaders...)

func (p *presented) readHeader(h map[string]any) error {
	for _, name := range forbiddenHeaders {
		if _, ok := h[name]; ok {
			return malformed(fmt.Errorf("its header has %q, which is not supported", name))
		}
	}
	if err := refuseVariants(h, registeredHeaders); err != nil {
		return err
	}
	alg, err := text(h, "alg")
	if err != nil {
		return err
	}
	for _, a := range supported {
		if alg == string(a) {
			p.algorithm = a
		}
	}
	if p.algorithm == "" {
		return refused("the token's signature algorithm is not accepted: sign with RS256, ES256, PS256 or EdDSA")
	}
	if p.keyID, err = text(h, "kid"); err != nil {
		return err
	}
	typ, err := text(h, "typ")
	p.typ = mediaType(typ)
	return err
}

// mediaType is the one spelling of a `typ`: RFC 7515 §4.1.9 lets "application/"
// be left out, and media types do not know case.
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// refuseVariants refuses a member whose name is a registered one in other letters:
// no issuer means well by it, and another reader of the token may take it for the
// real one.
func refuseVariants(members map[string]any, registered []string) error {
	for name := range members {
		if !plain(name) {
			for _, r := range registered {
				if name != r && strings.EqualFold(name, r) {
					return malformed(fmt.Errorf("it has %q in other letters", r))
				}
			}
		}
	}
	return nil
}

// plain reports a name of small ASCII letters, digits and the like, which folds to
// nothing but itself.
func plain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c >= 'A' && c <= 'Z' || c >= 0x80 {
			return false
		}
	}
	return true
}

// text reads an optional name: absent is empty, another type or too long is
// refused, and so is an empty one.
func text(members map[string]any, name string) (string, error) {
	value, present := members[name]
	if !present {
		return "", nil
	}
	s, ok := value.(string)
	if !ok || s == "" || len(s) > maxName {
		return "", malformed(fmt.Errorf("%q must be a string of 1 to %d bytes", name, maxName))
	}
	return s, nil
}
