package oauth

import (
	"strings"

	"github.com/cambio-sts/cambio/server"
)

// maxParameters bounds the members of a form; the endpoints know twenty together.
const maxParameters = 64

// form is the body of a request, read strictly: no parameter twice save
// resource and audience (RFC 6749 §3.2, RFC 8693 §2.1), no empty ones (they count
// as left out), nothing that is not clean UTF-8 text.
type form struct {
	values    [parameterCount]string
	audiences []string
	resources []string
}

// parameter numbers the parameters that the endpoint knows.
type parameter uint8

const (
	grantType parameter = iota
	subjectToken
	subjectTokenType
	actorToken
	actorTokenType
	scope
	requestedTokenType
	requestedLifetime
	publicKey
	passthroughToken
	reason
	rejectedSHA256
	clientID
	clientSecret
	clientAssertion
	clientAssertionType
	assertion
	token
	tokenTypeHint
	parameterCount // those above have one value at most; the rest have no place in values
	audience
	resource
	unknown
)

// parameterOf is a switch and no map: it costs no hash and no allocation.
func parameterOf(name string) parameter {
	switch name {
	case "grant_type":
		return grantType
	case "subject_token":
		return subjectToken
	case "subject_token_type":
		return subjectTokenType
	case "actor_token":
		return actorToken
	case "actor_token_type":
		return actorTokenType
	case "scope":
		return scope
	case "requested_token_type":
		return requestedTokenType
	case "requested_lifetime":
		return requestedLifetime
	case "public_key":
		return publicKey
	case "passthrough_token":
		return passthroughToken
	case "reason":
		return reason
	case "rejected_sha256":
		return rejectedSHA256
	case "client_id":
		return clientID
	case "client_secret":
		return clientSecret
	case "client_assertion":
		return clientAssertion
	case "client_assertion_type":
		return clientAssertionType
	case "assertion":
		return assertion
	case "token":
		return token
	case "token_type_hint":
		return tokenTypeHint
	case "audience":
		return audience
	case "resource":
		return resource
	}
	return unknown
}

// parseForm reads application/x-www-form-urlencoded (WHATWG URL §5.1, with every
// leniency taken out).
func parseForm(body string) (*form, error) {
	f := new(form)
	var seen [parameterCount]bool
	var strangers []string
	for count := 0; body != ""; {
		pair := body
		if i := strings.IndexByte(body, '&'); i >= 0 {
			pair, body = body[:i], body[i+1:]
		} else {
			body = ""
		}
		if pair == "" {
			continue
		}
		if count++; count > maxParameters {
			return nil, server.Invalid("too many parameters: send 64 at most")
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, ok := server.FormText(rawName)
		if !ok {
			return nil, server.Invalid("a parameter's name is not form-encoded UTF-8 text")
		}
		value, ok := server.FormText(rawValue)
		known := parameterOf(name)
		switch {
		case !ok && known == unknown:
			return nil, server.Invalid("a parameter's value is not form-encoded UTF-8 text without control characters")
		case !ok:
			return nil, server.Invalid("the value of " + name + " is not form-encoded UTF-8 text without control characters")
		case known == audience:
			f.audiences = appendGiven(f.audiences, value)
		case known == resource:
			f.resources = appendGiven(f.resources, value)
		case known == unknown:
			for _, s := range strangers {
				if s == name {
					return nil, server.Invalid("a parameter came twice: send each once, save resource and audience")
				}
			}
			strangers = append(strangers, name)
		case seen[known]:
			return nil, server.Invalid(name + " came twice: send it once")
		default:
			seen[known] = true
			f.values[known] = value
		}
	}
	return f, nil
}

func appendGiven(list []string, value string) []string {
	if value == "" {
		return list
	}
	return append(list, value)
}

func (f *form) get(p parameter) string { return f.values[p] }
