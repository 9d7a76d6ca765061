package oauth

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
)

// exchangeRequest makes an exchange.Request of the form.
func exchangeRequest(f *form, r *http.Request, now time.Time) (exchange.Request, error) {
	facts := server.FactsOf(r.Context())
	if facts.Started.IsZero() {
		facts.Started = now
	}
	out := exchange.Request{
		Door: "oauth", ClientIP: facts.ClientIP, UserAgent: r.UserAgent(), TraceID: facts.TraceID, RequestStarted: facts.Started,
	}
	lifetime, err := parseLifetime(f.get(requestedLifetime))
	if err != nil {
		return exchange.Request{}, err
	}
	key, err := parsePublicKey(f.get(publicKey))
	if err != nil {
		return exchange.Request{}, err
	}
	asked := server.Asked{
		Grant:        f.get(grantType),
		SubjectToken: f.get(subjectToken), SubjectTokenType: f.get(subjectTokenType),
		ActorToken: f.get(actorToken), ActorTokenType: f.get(actorTokenType), PassthroughToken: f.get(passthroughToken),
		Audiences: f.audiences, Resources: f.resources, Scope: f.get(scope),
		RequestedTokenType: f.get(requestedTokenType), Lifetime: lifetime, PublicKey: key, Reason: f.get(reason),
		Rejected: f.get(rejectedSHA256),
	}
	if err := f.checkAssertion(&asked); err != nil {
		return exchange.Request{}, err
	}
	if err := asked.Read(&out); err != nil {
		return exchange.Request{}, err
	}
	return out, nil
}

// parseLifetime reads requested_lifetime. One number has one spelling.
func parseLifetime(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 32)
	if err != nil || text[0] == '0' {
		return 0, server.Invalid("requested_lifetime is a whole number of seconds, from 1 to a year's worth, without leading zeros")
	}
	return time.Duration(seconds) * time.Second, nil
}

// maxKeyText bounds public_key before it is decoded, in bytes.
const maxKeyText = 4096

// parsePublicKey undoes the base64 of public_key, of either alphabet. PEM is passed
// on as it is, so that a private key in it is told apart.
func parsePublicKey(text string) ([]byte, error) {
	switch {
	case text == "":
		return nil, nil
	case strings.Contains(text, "PRIVATE KEY"):
		return []byte(text), nil
	case len(text) > maxKeyText:
		return nil, server.Invalid("public_key is too long: 4096 bytes of base64 at most")
	}
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	der, err := encoding.Strict().DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, server.Invalid("public_key is base64 of a SubjectPublicKeyInfo in DER, without PEM lines; in a form, + is written %2B")
	}
	return der, nil
}
