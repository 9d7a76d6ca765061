package azuresandbox

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// fault is one of Entra's errors.
type fault struct {
	oauth string
	code  int // AADSTS
	text  string
}

// refuse answers in the shape of the Microsoft identity platform's errors.
func (s *Sandbox) refuse(w http.ResponseWriter, r *http.Request, status int, f fault) {
	trace, correlation := guid(), r.Header.Get("client-request-id")
	if correlation == "" {
		correlation = guid()
	}
	at := s.now().UTC().Format("2006-01-02 15:04:05Z")
	body := map[string]any{
		"error": f.oauth,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			f.code, f.text, trace, correlation, at),
		"error_codes": []int{f.code}, "timestamp": at, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("https://%s/error?code=%d", r.Host, f.code),
	}
	if f.code == 53003 {
		body["suberror"] = "message_only"
	}
	w.Header().Set("x-ms-request-id", trace)
	write(w, status, body)
}

func guid() string {
	t := strings.ToLower(rand.Text() + rand.Text())
	hex := strings.Map(func(r rune) rune { return rune("0123456789abcdef"[int(r)%16]) }, t[:32])
	return hex[:8] + "-" + hex[8:12] + "-" + hex[12:16] + "-" + hex[16:20] + "-" + hex[20:]
}

func (s *Sandbox) knowsTenant(w http.ResponseWriter, r *http.Request) bool {
	if strings.EqualFold(r.PathValue("tenant"), s.options.TenantID) {
		return true
	}
	s.refuse(w, r, http.StatusBadRequest, fault{"invalid_request", 90002, fmt.Sprintf(
		"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", r.PathValue("tenant"))})
	return false
}

// assertionFault is Entra's answer to an assertion that the sandbox's verifier does
// not take.
func assertionFault(err error) fault {
	var f *sandbox.Fault
	if !errors.As(err, &f) {
		return fault{"invalid_request", 50027, "JWT token is invalid or malformed."}
	}
	switch f.Reason {
	case sandbox.ReasonAlgorithm, sandbox.ReasonSignature:
		return fault{"invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application. Client assertion failed signature validation."}
	case sandbox.ReasonKey:
		return fault{"invalid_client", 5000811, "Unable to verify token signature. The signing key identifier does not match any valid registered keys."}
	case sandbox.ReasonIssuer:
		return fault{"invalid_client", 700211, "No matching federated identity record found for presented assertion issuer."}
	case sandbox.ReasonExpired, sandbox.ReasonNotYet, sandbox.ReasonTooLong:
		return fault{"invalid_client", 700024, "Client assertion is not within its valid time range."}
	}
	return fault{"invalid_request", 50027, "JWT token is invalid or malformed."}
}

// match finds the federated credential that is the assertion's to the letter.
func (a App) match(c sandbox.Claims) (fault, bool) {
	if len(a.Credentials) == 0 {
		return fault{"invalid_client", 70025, fmt.Sprintf("The client '%s' has no configured federated identity credentials.", a.ClientID)}, false
	}
	issuer, subject := false, false
	for _, f := range a.Credentials {
		if f.Issuer != c.Issuer {
			continue
		}
		issuer = true
		if f.Subject != c.Subject {
			continue
		}
		if subject = true; f.Audience == c.Audience {
			return fault{}, true
		}
	}
	switch {
	case !issuer:
		return fault{"invalid_client", 700211, fmt.Sprintf("No matching federated identity record found for presented assertion issuer '%s'.", c.Issuer)}, false
	case !subject:
		return fault{"invalid_client", 700213, fmt.Sprintf("No matching federated identity record found for presented assertion subject '%s'.", c.Subject)}, false
	}
	return fault{"invalid_client", 700212, fmt.Sprintf("No matching federated identity record found for presented assertion audience '%s'.", c.Audience)}, false
}
