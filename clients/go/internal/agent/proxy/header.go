package proxy

import (
	"net/http"
	"slices"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// dropped are headers of a caller that the upstream does not get: what proves somebody,
// and what some servers read in place of the method, the path, the host or the sender.
var dropped = []string{
	"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "X-Goog-Iam-Authorization-Token",
	"X-Serverless-Authorization", "X-Vault-Token", "X-Auth-Token", "X-Access-Token", "Private-Token",
	"Cookie", "Cookie2", "Forwarded", "Via", "X-Real-Ip", "True-Client-Ip", "Referer",
	"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url",
	"X-Original-Host", "X-Host",
	"X-Content-Sha256", "Opc-Obo-Token", // of a signature for OCI
}

// kept reports whether a header, or a trailer, goes on. Names count as CGI reads them,
// which makes no difference between "_" and "-".
func kept(name string, auth *Auth) bool {
	name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	switch {
	case slices.Contains(dropped, name), strings.HasPrefix(name, "Proxy-"), strings.HasPrefix(name, "X-Forwarded-"),
		auth.Header != "" && name == http.CanonicalHeaderKey(auth.Header):
		return false
	case name == "X-Amz-Target": // the operation, of services that speak JSON
		return auth.AWS != nil
	}
	return !strings.HasPrefix(name, "X-Amz-")
}

// forward makes a caller's headers those of the route. Values that hold the secret of
// the start are dropped wherever they are.
func (t *route) forward(h http.Header, secret cambio.Secret) {
	for name, values := range h {
		if !kept(name, t.auth) || !secret.IsZero() && slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, secret.Reveal()) }) {
			delete(h, name)
		}
	}
	for name, value := range t.headers {
		if before := h.Values(name); strings.HasSuffix(name, "-Beta") && len(before) > 0 {
			value = joined(before, value)
		}
		h.Set(name, value)
	}
	if t.auth.signs() {
		h.Del("Te") // nothing is signed that a transport may change
		h.Del("Expect")
	}
}

// joined adds to a comma-separated list what it lacks.
func joined(lines []string, more string) string {
	var all []string
	for _, line := range append(slices.Clone(lines), more) {
		for one := range strings.SplitSeq(line, ",") {
			if one = strings.TrimSpace(one); one != "" && !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
	}
	return strings.Join(all, ",")
}

// withheld are headers of an answer that the caller does not get: a session with the
// upstream is a credential, and the agent's; and a way around the agent.
var withheld = []string{"Set-Cookie", "Set-Cookie2", "Alt-Svc", "Authentication-Info"}

func withhold(h http.Header) {
	for name := range h {
		if slices.Contains(withheld, http.CanonicalHeaderKey(strings.TrimPrefix(name, http.TrailerPrefix))) {
			delete(h, name)
		}
	}
}
