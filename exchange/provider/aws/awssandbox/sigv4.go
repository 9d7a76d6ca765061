package awssandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Signature Version 4 (IAM User Guide, "Create a signed AWS API request"), from the
// verifier's side and by itself: a stand-in that shared its code with the signer
// would find nothing.

const (
	sigAlgorithm = "AWS4-HMAC-SHA256"
	amzTime      = "20060102T150405Z"
	// sigSkew is how far a signature's time may be from now.
	sigSkew = 5 * time.Minute
)

// signature is what a request says of its own.
type signature struct {
	keyID, day, region, service string
	headers                     []string
	value                       string
}

// readAuthorization reads the header of a signed request.
func readAuthorization(header string) (signature, bool) {
	rest, ok := strings.CutPrefix(header, sigAlgorithm+" ")
	if !ok {
		return signature{}, false
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := parts[name]; twice || !ok {
			return signature{}, false
		}
		parts[name] = value
	}
	return readSignature(parts["Credential"], parts["SignedHeaders"], parts["Signature"])
}

func readSignature(credential, headers, value string) (signature, bool) {
	scope := strings.Split(credential, "/")
	if len(scope) != 5 || scope[4] != "aws4_request" || headers == "" || value == "" {
		return signature{}, false
	}
	s := signature{scope[0], scope[1], scope[2], scope[3], strings.Split(headers, ";"), value}
	return s, slices.IsSorted(s.headers) && slices.Contains(s.headers, "host")
}

// canonical is a request as it is signed. query has no signature in it, and is nil
// where there is none.
func canonical(r *http.Request, query url.Values, headers []string, payload string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + encodePath(r.URL.EscapedPath()) + "\n" + encodeQuery(query) + "\n")
	for _, name := range headers {
		values := r.Header.Values(name)
		switch name {
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		clean := make([]string, len(values))
		for i, v := range values {
			clean[i] = strings.Join(strings.Fields(v), " ")
		}
		b.WriteString(name + ":" + strings.Join(clean, ",") + "\n")
	}
	b.WriteString("\n" + strings.Join(headers, ";") + "\n" + payload)
	return b.String()
}

// encodePath escapes a path that is escaped already once more, as every service but
// S3 has it.
func encodePath(path string) string {
	if path == "" {
		return "/"
	}
	var b strings.Builder
	for _, c := range []byte(path) {
		if c == '/' {
			b.WriteByte(c)
		} else {
			b.WriteString(encodeText(string(rune(c))))
		}
	}
	return b.String()
}

func encodeText(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func encodeQuery(query url.Values) string {
	var pairs []string
	for name, values := range query {
		for _, v := range values {
			pairs = append(pairs, encodeText(name)+"="+encodeText(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// verifies reports whether the value is the signature of the canonical request.
func (s signature) verifies(secret, at, request string) bool {
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.day, s.region, s.service, "aws4_request"} {
		key = mac(key, part)
	}
	digest := sha256.Sum256([]byte(request))
	scope := strings.Join([]string{s.day, s.region, s.service, "aws4_request"}, "/")
	want := hex.EncodeToString(mac(key, strings.Join([]string{sigAlgorithm, at, scope, hex.EncodeToString(digest[:])}, "\n")))
	return subtle.ConstantTimeCompare([]byte(want), []byte(s.value)) == 1
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// authenticate finds who signed a request, for a service of this region.
func (s *Server) authenticate(r *http.Request, body []byte, service string) (*identity, *refusal) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, refuse(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	}
	sig, ok := readAuthorization(header)
	at := r.Header.Get("X-Amz-Date")
	token := r.Header.Get("X-Amz-Security-Token")
	if !ok || !slices.Contains(sig.headers, "x-amz-date") || token != "" && !slices.Contains(sig.headers, "x-amz-security-token") {
		return nil, refuse(http.StatusBadRequest, "IncompleteSignature", "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature', with host, x-amz-date and x-amz-security-token signed.")
	}
	signed, err := time.Parse(amzTime, at)
	if now := s.now(); err != nil || signed.Before(now.Add(-sigSkew)) || signed.After(now.Add(sigSkew)) {
		return nil, refuse(http.StatusForbidden, "SignatureDoesNotMatch", "Signature expired: %.32s is not within 5 minutes of now", at)
	}
	sum := sha256.Sum256(body)
	payload := hex.EncodeToString(sum[:])
	if said := r.Header.Get("X-Amz-Content-Sha256"); said != "" && said != payload {
		return nil, refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The provided x-amz-content-sha256 does not match what was computed.")
	}
	return s.signer(sig, at, token, service, func() string { return canonical(r, r.URL.Query(), sig.headers, payload) })
}

// signer finds who has the key of a signature, and verifies it.
func (s *Server) signer(sig signature, at, token, service string, request func() string) (*identity, *refusal) {
	if sig.region != s.region || sig.service != service || !strings.HasPrefix(at, sig.day) {
		return nil, refuse(http.StatusForbidden, "SignatureDoesNotMatch", "Credential should be scoped to a valid region, service and day.")
	}
	who := s.lookup(sig.keyID)
	if who == nil || subtle.ConstantTimeCompare([]byte(who.token), []byte(token)) != 1 {
		return nil, refuse(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
	}
	if !sig.verifies(who.secret, at, request()) {
		return nil, refuse(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	if who.role != nil && !s.now().Before(who.expires) {
		return nil, refuse(http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired")
	}
	return who, nil
}
