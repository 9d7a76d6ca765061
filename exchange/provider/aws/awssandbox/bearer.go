package awssandbox

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxKeyLife is the longest that a short-term Bedrock key lives.
const maxKeyLife = 12 * time.Hour

// emptySum is the SHA-256 of no bytes.
const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// readKey opens a short-term Bedrock key: a presigned request, without its scheme.
func readKey(key string) (host string, query url.Values, ok bool) {
	encoded, ok := strings.CutPrefix(key, "bedrock-api-key-")
	if !ok {
		return "", nil, false
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", nil, false
	}
	u, err := url.Parse("https://" + string(raw))
	if err != nil || u.Path != "/" || u.User != nil {
		return "", nil, false
	}
	query, err = url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", nil, false
	}
	for _, values := range query {
		if len(values) != 1 {
			return "", nil, false
		}
	}
	return u.Host, query, true
}

// bearer finds who a Bedrock key is of, by verifying the request within.
func (s *Server) bearer(key string) (*identity, *refusal) {
	bad := refuse(http.StatusForbidden, "InvalidClientTokenId", "Authentication failed: Please make sure your API Key is valid.")
	host, query, ok := readKey(key)
	if !ok || host != "bedrock.amazonaws.com" || query.Get("Action") != "CallWithBearerToken" || query.Get("Version") != "1" ||
		query.Get("X-Amz-Algorithm") != sigAlgorithm {
		return nil, bad
	}
	sig, ok := readSignature(query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Signature"))
	if !ok || len(sig.headers) != 1 {
		return nil, bad
	}
	at, err := time.Parse(amzTime, query.Get("X-Amz-Date"))
	seconds, badLife := strconv.Atoi(query.Get("X-Amz-Expires"))
	life := time.Duration(seconds) * time.Second
	if err != nil || badLife != nil || life <= 0 || life > maxKeyLife || at.After(s.now().Add(sigSkew)) {
		return nil, bad
	}
	query.Del("X-Amz-Signature") // neither was there when it was signed
	query.Del("Version")
	who, refused := s.signer(sig, at.Format(amzTime), query.Get("X-Amz-Security-Token"), "bedrock", func() string {
		return canonical(&http.Request{Method: http.MethodPost, Host: host, URL: &url.URL{Path: "/"}}, query, sig.headers, emptySum)
	})
	if refused == nil && !s.now().Before(at.Add(life)) {
		return nil, refuse(http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired")
	}
	return who, refused
}
