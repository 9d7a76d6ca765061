package oauth

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
)

// GrantTokenExchange is the grant type of RFC 8693 §2.1.
const GrantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// The bounds of single parameters, in bytes unless said otherwise. The body has a
// bound of its own.
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

// exchangeRequest makes an exchange.Request of the parameters. It checks syntax
// and looks nothing up: what is well-formed may still be refused.
func exchangeRequest(f *form, r *http.Request, now time.Time) (exchange.Request, error) {
	facts := server.FactsOf(r.Context())
	out := exchange.Request{
		Door: "oauth", Grant: GrantTokenExchange,
		ClientIP: facts.ClientIP, UserAgent: r.UserAgent(), TraceID: facts.TraceID, RequestStarted: facts.Started,
	}
	if out.RequestStarted.IsZero() { // no listener of ours in front
		out.RequestStarted = now
	}
	for _, step := range [...]func(*form, *exchange.Request) error{
		readTokens, readTargets, readScopes, readRequestedType, readLifetime, readPublicKey, readReason,
	} {
		if err := step(f, &out); err != nil {
			return exchange.Request{}, err
		}
	}
	return out, nil
}

// readTokens holds the pairing rules of RFC 8693 §2.1.
func readTokens(f *form, out *exchange.Request) error {
	token, kind := f.get(subjectToken), f.get(subjectTokenType)
	switch {
	case token == "":
		return invalid("subject_token is missing: send the token to exchange")
	case kind == "":
		return invalid("subject_token_type is missing: say urn:ietf:params:oauth:token-type:jwt for a JWT")
	case !isURI(kind, maxTokenType):
		return invalid("subject_token_type is not a URI, such as urn:ietf:params:oauth:token-type:jwt")
	}
	out.SubjectToken = exchange.Token{Value: exchange.NewSecret(token), Type: exchange.TokenType(kind)}

	token, kind = f.get(actorToken), f.get(actorTokenType)
	switch {
	case token == "" && kind != "":
		return invalid("actor_token_type came without actor_token: send both or neither")
	case token != "" && kind == "":
		return invalid("actor_token came without actor_token_type: send both or neither")
	case token != "" && !isURI(kind, maxTokenType):
		return invalid("actor_token_type is not a URI, such as urn:ietf:params:oauth:token-type:jwt")
	case token != "":
		out.ActorToken = exchange.Token{Value: exchange.NewSecret(token), Type: exchange.TokenType(kind)}
	}
	if token = f.get(passthroughToken); token != "" {
		out.PassthroughToken = exchange.Token{Value: exchange.NewSecret(token), Type: exchange.TokenTypeJWT}
	}
	return nil
}

// readTargets holds RFC 8707 §2: a resource is an absolute URI without fragment,
// else invalid_target.
func readTargets(f *form, out *exchange.Request) error {
	refuse := func(advice string) error { return exchange.Fault(exchange.KindInvalidTarget, advice, nil) }
	if len(f.audiences) > maxTargets || len(f.resources) > maxTargets {
		return refuse("too many audience or resource parameters: name one target")
	}
	for _, a := range f.audiences {
		if len(a) > maxAudience {
			return refuse("an audience is too long: it is the name of a target")
		}
	}
	for _, r := range f.resources {
		switch {
		case strings.IndexByte(r, '#') >= 0:
			return refuse("a resource must not have a fragment")
		case !isURI(r, maxResource):
			return refuse("a resource must be an absolute URI")
		}
	}
	out.Audiences, out.Resources = f.audiences, f.resources
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

// readScopes holds the syntax of RFC 6749 §3.3: visible ASCII without quotes and
// backslashes, one space between. The same scope twice is one scope.
func readScopes(f *form, out *exchange.Request) error {
	text := f.get(scope)
	if text == "" {
		return nil
	}
	refuse := func(advice string) error { return exchange.Fault(exchange.KindInvalidScope, advice, nil) }
	if strings.Count(text, " ") >= maxScopes {
		return refuse("too many scopes: ask for 64 at most")
	}
	for text != "" {
		token, rest, more := strings.Cut(text, " ")
		if token == "" || more && rest == "" {
			return refuse("scope is a list with one space between and none around")
		}
		if len(token) > maxScope || !isScopeToken(token) {
			return refuse("a scope is visible ASCII without quotes and backslashes, 256 bytes at most")
		}
		out.Scopes = appendNew(out.Scopes, token)
		text = rest
	}
	return nil
}

func isScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

func readRequestedType(f *form, out *exchange.Request) error {
	kind := f.get(requestedTokenType)
	switch {
	case kind == "":
		return nil
	case !isURI(kind, maxTokenType):
		return invalid("requested_token_type is not a URI, such as urn:ietf:params:oauth:token-type:access_token")
	case exchange.TokenType(kind) == exchange.TokenTypeRefreshToken:
		return invalid("requested_token_type: refresh tokens are not issued here; exchange again instead")
	}
	out.RequestedType = exchange.TokenType(kind)
	return nil
}

func readLifetime(f *form, out *exchange.Request) error {
	text := f.get(requestedLifetime)
	if text == "" {
		return nil
	}
	seconds, err := strconv.ParseUint(text, 10, 32)
	if err != nil || text[0] == '0' || time.Duration(seconds)*time.Second > maxLifetime {
		return invalid("requested_lifetime is a whole number of seconds, from 1 to a year's worth, without leading zeros")
	}
	out.Lifetime = time.Duration(seconds) * time.Second
	return nil
}

func readPublicKey(f *form, out *exchange.Request) error {
	text := f.get(publicKey)
	if text == "" {
		return nil
	}
	der, err := parsePublicKey(text)
	if err != nil {
		return err
	}
	out.PublicKey = der
	return nil
}

func readReason(f *form, out *exchange.Request) error {
	out.Reason = f.get(reason)
	if len(out.Reason) > maxReason {
		return invalid("reason is too long: 512 bytes at most")
	}
	return nil
}
