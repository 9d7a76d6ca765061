package oci

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/oracle/oci-go-sdk/v65/common"

	"github.com/cambio-sts/cambio/exchange"
)

// Bounds on the headers that are signed besides.
const (
	maxHeaders     = 16
	maxHeaderValue = 1024
	maxBodyLength  = 1 << 40
)

var headerForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// ours are the headers that Cambio writes, or that would change who asks.
var ours = []string{"authorization", "date", "x-date", "host", "content-length", "x-content-sha256", "opc-obo-token", "transfer-encoding", "connection"}

// Sign signs one request by the target's hosts, methods and paths. Cambio writes the
// date, so that a signature cannot be made for later, and the digest.
func (d *signingDriver) Sign(_ context.Context, _ *exchange.Target, held exchange.Secret, r exchange.SignRequest) (map[string]string, error) {
	if err := d.settings.Signing.admit(r); err != nil {
		return nil, err
	}
	target := r.Path
	if r.Query != "" {
		target += "?" + r.Query
	}
	u, err := url.ParseRequestURI("https://" + r.Host + target)
	if err != nil || u.RequestURI() != target || u.Host != r.Host {
		return nil, invalid("path and query are not as they stand in a request line")
	}
	request := &http.Request{Method: r.Method, URL: u, Host: r.Host, Header: http.Header{}}
	headers := map[string]string{"date": d.now().UTC().Format(http.TimeFormat)}
	signed := common.DefaultGenericHeaders()
	if len(r.BodySHA256) > 0 {
		headers["content-length"] = strconv.FormatInt(r.BodyLength, 10)
		headers["x-content-sha256"] = base64.StdEncoding.EncodeToString(r.BodySHA256)
		signed = append(signed, "content-length", "x-content-sha256")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		headers[name] = r.Headers[name]
		signed = append(signed, name)
	}
	for name, v := range headers {
		request.Header.Set(name, v)
	}
	what, key, err := release(held)
	if err != nil {
		return nil, err
	}
	// The SDK would hash a body, of which there is only the digest here: so to the
	// SDK all are headers.
	signer := common.RequestSignerWithBodyHashingPredicate(pair{keyID(exchange.NewSecret(what.Token)), key}, signed, nil, func(*http.Request) bool { return false })
	if err := signer.Sign(request); err != nil {
		return nil, fmt.Errorf("signing a request: %w", err)
	}
	headers["authorization"] = request.Header.Get("Authorization")
	return headers, nil
}

// pair is key and token of one snapshot, as the SDK wants them.
type pair struct {
	keyID string
	key   *rsa.PrivateKey
}

// KeyID is the token's.
func (p pair) KeyID() (string, error) { return p.keyID, nil }

// PrivateRSAKey is the key that the token names.
func (p pair) PrivateRSAKey() (*rsa.PrivateKey, error) { return p.key, nil }

func invalid(advice string) error {
	return exchange.Fault(exchange.KindInvalidRequest, advice, nil)
}

// admit refuses what the target does not list, and what can be read in two ways.
func (s *Signing) admit(r exchange.SignRequest) error {
	switch {
	case !slices.Contains(canSign, r.Method):
		return invalid("method is one of " + strings.Join(canSign, ", "))
	case !hostForm.MatchString(r.Host) || strings.HasPrefix(r.Host, "*") || len(r.Host) > 255:
		return invalid("host is a host name in lower case, as in the Host header")
	case !canonicalPath(r.Path):
		return invalid("path is not canonical: no empty segments, no dots, nothing encoded that is a separator or needs no encoding")
	case !canonicalQuery(r.Query):
		return invalid("query is not encoded as it stands in a request line")
	}
	withBody := r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch
	switch {
	case withBody && (len(r.BodySHA256) != sha256.Size || r.BodyLength < 0 || r.BodyLength > maxBodyLength):
		return invalid("body_sha256 is the SHA-256 of the body, and body_length its length; of an empty body too")
	case withBody && r.Headers["content-type"] == "":
		return invalid("headers: a request with a body signs its content-type")
	case !withBody && (len(r.BodySHA256) > 0 || r.BodyLength != 0):
		return invalid("a " + r.Method + " has no body here: leave body_sha256 and body_length out")
	case len(r.Headers) > maxHeaders:
		return invalid("headers: 16 at most")
	}
	for name, v := range r.Headers {
		switch {
		case !headerForm.MatchString(name):
			return invalid("headers: names are in lower case")
		case slices.Contains(ours, name):
			return invalid("headers: " + name + " is not for callers to set")
		case len(v) > maxHeaderValue || strings.TrimSpace(v) != v || strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > '~' }):
			return invalid("headers: the value of " + name + " is printable ASCII, 1024 bytes at most")
		}
	}
	if !s.host(r.Host) || !slices.Contains(s.Methods, r.Method) || !s.path(r.Path) {
		return exchange.Fault(exchange.KindPermissionDenied, "this session does not sign such requests: its target lists other hosts, methods or paths", nil)
	}
	return nil
}
