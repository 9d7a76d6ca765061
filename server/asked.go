package server

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// GrantTokenExchange is the grant type of RFC 8693 §2.1.
const GrantTokenExchange = exchange.GrantTokenExchange

// The bounds of single parameters, in bytes unless said otherwise. A whole request
// has a bound of its own.
const (
	maxTargets   = 8 // values of audience, and of resource
	maxAudience  = 256
	maxResource  = 2048
	maxScopes    = 64 // tokens
	maxScope     = 256
	maxTokenType = 256
	maxReason    = 512
	maxLifetime  = 366 * 24 * time.Hour
)

// Asked is what a caller asked for, as a door took it out of its protocol: the
// parameters of RFC 8693 §2.1 and ours, unread. Empty means left out.
type Asked struct {
	Grant                          string // exchange.Grant…; empty: token exchange
	SubjectToken, SubjectTokenType string
	ActorToken, ActorTokenType     string
	PassthroughToken               string
	Audiences, Resources           []string
	Scope                          string
	RequestedTokenType             string
	Lifetime                       time.Duration
	PublicKey                      []byte // SubjectPublicKeyInfo in DER
	Reason                         string
	Rejected                       string // SHA-256 of a refused credential, base64url
}

// Read checks the syntax of what was asked and puts it into out, which holds the
// facts that the door knows by itself. It looks nothing up: what is well-formed may
// still be refused. Every door reads by this, so that none has a syntax of its own.
//
// The error is an *exchange.Error whose advice names the parameter.
func (a *Asked) Read(out *exchange.Request) error {
	if out.Grant = a.Grant; out.Grant == "" {
		out.Grant = GrantTokenExchange
	}
	for _, step := range [...]func(*Asked, *exchange.Request) error{
		(*Asked).tokens, (*Asked).targets, (*Asked).scopes, (*Asked).rest,
	} {
		if err := step(a, out); err != nil {
			return err
		}
	}
	return nil
}

// Invalid is a request that is malformed, or has a parameter that does not fit.
func Invalid(advice string) error { return exchange.Fault(exchange.KindInvalidRequest, advice, nil) }

// tokens holds the pairing rules of RFC 8693 §2.1.
func (a *Asked) tokens(out *exchange.Request) error {
	switch {
	case a.Grant == exchange.GrantClientCredentials && (a.SubjectToken != "" || a.SubjectTokenType != "" || a.ActorToken != "" || a.ActorTokenType != ""):
		return Invalid("with client_credentials the client asks for itself: leave out the subject's and the actor's token")
	case a.Grant == exchange.GrantClientCredentials:
		out.PassthroughToken = token(a.PassthroughToken, exchange.TokenTypeJWT)
		return nil
	case a.Grant == exchange.GrantJWTBearer && a.SubjectToken == "":
		return Invalid("assertion is missing: send the subject's token")
	case a.SubjectToken == "":
		return Invalid("subject_token is missing: send the token to exchange")
	case a.SubjectTokenType == "":
		return Invalid("subject_token_type is missing: say urn:ietf:params:oauth:token-type:jwt for a JWT")
	case !isURI(a.SubjectTokenType, maxTokenType):
		return Invalid("subject_token_type is not a URI, such as urn:ietf:params:oauth:token-type:jwt")
	case a.SubjectTokenType == string(exchange.TokenTypeIDJAG) && a.Grant != exchange.GrantJWTBearer: // S12
		return exchange.Fault(exchange.KindInvalidSubject, "an identity assertion grant is taken as the assertion of "+exchange.GrantJWTBearer+" only", nil)
	case a.ActorToken == "" && a.ActorTokenType != "":
		return Invalid("actor_token_type came without actor_token: send both or neither")
	case a.ActorToken != "" && a.ActorTokenType == "":
		return Invalid("actor_token came without actor_token_type: send both or neither")
	case a.ActorToken != "" && !isURI(a.ActorTokenType, maxTokenType):
		return Invalid("actor_token_type is not a URI, such as urn:ietf:params:oauth:token-type:jwt")
	}
	out.SubjectToken = token(a.SubjectToken, exchange.TokenType(a.SubjectTokenType))
	out.ActorToken = token(a.ActorToken, exchange.TokenType(a.ActorTokenType))
	out.PassthroughToken = token(a.PassthroughToken, exchange.TokenTypeJWT)
	return nil
}

func token(value string, kind exchange.TokenType) exchange.Token {
	if value == "" {
		return exchange.Token{}
	}
	return exchange.Token{Value: exchange.NewSecret(value), Type: kind}
}

// targets holds RFC 8707 §2: a resource is an absolute URI without fragment, else
// invalid_target.
func (a *Asked) targets(out *exchange.Request) error {
	refuse := func(advice string) error { return exchange.Fault(exchange.KindInvalidTarget, advice, nil) }
	if len(a.Audiences) > maxTargets || len(a.Resources) > maxTargets {
		return refuse("too many audience or resource parameters: name one target")
	}
	for _, name := range a.Audiences {
		if name == "" || len(name) > maxAudience {
			return refuse("an audience is the name of a target: not empty, 256 bytes at most")
		}
	}
	for _, r := range a.Resources {
		switch {
		case strings.IndexByte(r, '#') >= 0:
			return refuse("a resource must not have a fragment")
		case !isURI(r, maxResource):
			return refuse("a resource must be an absolute URI")
		}
	}
	out.Audiences, out.Resources = a.Audiences, a.Resources
	return nil
}

// isURI accepts an absolute URI in ASCII (RFC 3986 §4.3), with a fragment or not.
func isURI(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '\\' || c == '^' || c == '`' || c == '{' || c == '|' || c == '}' {
			return false
		}
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" || !isScheme(scheme) {
		return false
	}
	if strings.EqualFold(scheme, "urn") { // the common case, which needs no parser
		return true
	}
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && (u.Host != "" || u.Opaque != "")
}

func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		letter := c >= 'a' && c <= 'z'
		other := s[i] >= '0' && s[i] <= '9' || s[i] == '+' || s[i] == '-' || s[i] == '.'
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return s != ""
}

// scopes holds the syntax of RFC 6749 §3.3: visible ASCII without quotes and
// backslashes, one space between. The same scope twice is one scope.
func (a *Asked) scopes(out *exchange.Request) error {
	text := a.Scope
	refuse := func(advice string) error { return exchange.Fault(exchange.KindInvalidScope, advice, nil) }
	if strings.Count(text, " ") >= maxScopes {
		return refuse("too many scopes: ask for 64 at most")
	}
	for text != "" {
		one, rest, more := strings.Cut(text, " ")
		if one == "" || more && rest == "" {
			return refuse("scope is a list with one space between and none around")
		}
		if len(one) > maxScope || !exchange.ValidScope(one) {
			return refuse("a scope is visible ASCII without quotes and backslashes, 256 bytes at most")
		}
		if !slices.Contains(out.Scopes, one) {
			out.Scopes = append(out.Scopes, one)
		}
		text = rest
	}
	return nil
}

func (a *Asked) rest(out *exchange.Request) error {
	kind := exchange.TokenType(a.RequestedTokenType)
	switch {
	case kind != "" && !isURI(string(kind), maxTokenType):
		return Invalid("requested_token_type is not a URI, such as urn:ietf:params:oauth:token-type:access_token")
	case kind == exchange.TokenTypeRefreshToken:
		return Invalid("requested_token_type: refresh tokens are not issued here; exchange again instead")
	case a.Lifetime < 0 || a.Lifetime > maxLifetime || a.Lifetime%time.Second != 0:
		return Invalid("requested_lifetime is a whole number of seconds, from 1 to a year's worth; leave it out for the default")
	case len(a.Reason) > maxReason:
		return Invalid("reason is too long: 512 bytes at most")
	}
	if len(a.PublicKey) > 0 {
		if err := checkPublicKey(a.PublicKey); err != nil {
			return err
		}
	}
	if a.Rejected != "" {
		sum, err := base64.RawURLEncoding.Strict().DecodeString(a.Rejected)
		if err != nil || len(sum) != len(out.Rejected) {
			return Invalid("rejected_sha256 is the SHA-256 of the credential that was refused: 32 bytes in base64url, without padding")
		}
		out.Rejected = [32]byte(sum)
	}
	out.RequestedType, out.Lifetime, out.PublicKey, out.Reason = kind, a.Lifetime, a.PublicKey, a.Reason
	return nil
}
