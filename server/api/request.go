package api

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

// readText refuses control characters in any text. (That it is UTF-8, protobuf and
// protojson have seen to.)
func readText(in *cambiov1.ExchangeRequest, _ *exchange.Request) error {
	var err error
	in.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Kind() != protoreflect.StringKind {
			return true
		}
		bad := false
		if field.IsList() {
			list := value.List()
			for i := range list.Len() {
				bad = bad || hasControl(list.Get(i).String())
			}
		} else {
			bad = hasControl(value.String())
		}
		if bad {
			err = invalid(string(field.Name()) + " holds a control character: send one line of text")
		}
		return !bad
	})
	return err
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

// readTokens holds the pairing rules of RFC 8693 §2.1.
func readTokens(in *cambiov1.ExchangeRequest, out *exchange.Request) error {
	switch {
	case in.GetSubjectToken() == "":
		return invalid("subject_token is missing: send the token to exchange")
	case in.GetSubjectTokenType() == "":
		return invalid("subject_token_type is missing: say urn:ietf:params:oauth:token-type:jwt for a JWT")
	case !isURI(in.GetSubjectTokenType(), maxTokenType):
		return invalid("subject_token_type is not a URI, such as urn:ietf:params:oauth:token-type:jwt")
	case (in.GetActorToken() == "") != (in.GetActorTokenType() == ""):
		return invalid("actor_token and actor_token_type come together: send both or neither")
	case in.GetActorToken() != "" && !isURI(in.GetActorTokenType(), maxTokenType):
		return invalid("actor_token_type is not a URI, such as urn:ietf:params:oauth:token-type:jwt")
	}
	out.SubjectToken = token(in.GetSubjectToken(), in.GetSubjectTokenType())
	if in.GetActorToken() != "" {
		out.ActorToken = token(in.GetActorToken(), in.GetActorTokenType())
	}
	if in.GetPassthroughToken() != "" {
		out.PassthroughToken = token(in.GetPassthroughToken(), string(exchange.TokenTypeJWT))
	}
	return nil
}

func token(value, kind string) exchange.Token {
	return exchange.Token{Value: exchange.NewSecret(value), Type: exchange.TokenType(kind)}
}

// readTargets holds RFC 8707 §2: a resource is an absolute URI without fragment,
// else invalid_target.
func readTargets(in *cambiov1.ExchangeRequest, out *exchange.Request) error {
	refuse := func(advice string) error { return exchange.Fault(exchange.KindInvalidTarget, advice, nil) }
	if len(in.GetAudience()) > maxTargets || len(in.GetResource()) > maxTargets {
		return refuse("too many audiences or resources: name one target")
	}
	for _, a := range in.GetAudience() {
		if a == "" || len(a) > maxAudience {
			return refuse("an audience is the name of a target: not empty, 256 bytes at most")
		}
	}
	for _, r := range in.GetResource() {
		switch {
		case strings.Contains(r, "#"):
			return refuse("a resource must not have a fragment")
		case !isURI(r, maxResource):
			return refuse("a resource must be an absolute URI")
		}
	}
	out.Audiences, out.Resources = in.GetAudience(), in.GetResource()
	return nil
}

// isURI accepts an absolute URI in ASCII (RFC 3986 §4.3).
func isURI(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"<>\\^`{|}", r) }) {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && (u.Host != "" || u.Opaque != "")
}

// readScopes holds the syntax of RFC 6749 §3.3. The same scope twice is one scope.
func readScopes(in *cambiov1.ExchangeRequest, out *exchange.Request) error {
	if in.GetScope() == "" {
		return nil
	}
	refuse := func(advice string) error { return exchange.Fault(exchange.KindInvalidScope, advice, nil) }
	tokens := strings.Split(in.GetScope(), " ")
	if len(tokens) > maxScopes {
		return refuse("too many scopes: ask for 64 at most")
	}
	for _, t := range tokens {
		switch {
		case t == "":
			return refuse("scope is a list with one space between and none around")
		case len(t) > maxScope || strings.ContainsFunc(t, func(r rune) bool { return r < 0x21 || r > 0x7e || r == '"' || r == '\\' }):
			return refuse("a scope is visible ASCII without quotes and backslashes, 256 bytes at most")
		case !slices.Contains(out.Scopes, t):
			out.Scopes = append(out.Scopes, t)
		}
	}
	return nil
}

func readRest(in *cambiov1.ExchangeRequest, out *exchange.Request) error {
	kind := exchange.TokenType(in.GetRequestedTokenType())
	lifetime := time.Duration(in.GetRequestedLifetime()) * time.Second
	switch {
	case kind != "" && !isURI(string(kind), maxTokenType):
		return invalid("requested_token_type is not a URI, such as urn:ietf:params:oauth:token-type:access_token")
	case kind == exchange.TokenTypeRefreshToken:
		return invalid("requested_token_type: refresh tokens are not issued here; exchange again instead")
	case lifetime < 0 || lifetime > maxLifetime:
		return invalid("requested_lifetime is a number of seconds, from 1 to a year's worth; leave it out for the default")
	case len(in.GetReason()) > maxReason:
		return invalid("reason is too long: 512 bytes at most")
	}
	out.RequestedType, out.Lifetime, out.Reason = kind, lifetime, in.GetReason()
	if len(in.GetPublicKey()) > 0 {
		if err := checkPublicKey(in.GetPublicKey()); err != nil {
			return err
		}
		out.PublicKey = in.GetPublicKey()
	}
	return nil
}

// checkPublicKey takes a SubjectPublicKeyInfo in DER (RFC 5280 §4.1) and nothing
// else. A private key is named as what it is: whoever sends one must know that it
// is burnt.
func checkPublicKey(der []byte) error {
	if len(der) > maxPublicKey {
		return invalid("public_key is too long: 3072 bytes of DER at most")
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		if isPrivateKey(der) {
			return invalid("public_key holds a private key: it has left your machine, so make a new pair, and send the public half")
		}
		return invalid("public_key is not a SubjectPublicKeyInfo in DER: openssl pkey -pubout -outform DER makes one")
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < 2048 || n > 8192 {
			return invalid("public_key: an RSA key has 2048 to 8192 bits")
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return invalid("public_key must be an RSA, ECDSA or Ed25519 key")
	}
	return nil
}

// isPrivateKey tries the three containers that private keys come in (RFC 5958,
// RFC 8017 A.1.2, RFC 5915), and PEM.
func isPrivateKey(b []byte) bool {
	if strings.Contains(string(b), "PRIVATE KEY") {
		return true
	}
	if _, err := x509.ParsePKCS8PrivateKey(b); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PrivateKey(b); err == nil {
		return true
	}
	_, err := x509.ParseECPrivateKey(b)
	return err == nil
}
