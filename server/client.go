package server

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
)

// Clients proves registered clients. An error is an *exchange.Error, of
// KindInvalidClient for whatever is wrong with what was presented.
type Clients interface {
	Secret(ctx context.Context, id string, secret exchange.Secret, now time.Time) (client.Proven, error)
	// Assertion takes what came as client_assertion; id is client_id, if it came.
	Assertion(ctx context.Context, id string, assertion exchange.Secret, now time.Time) (client.Proven, error)
}

// assertionJWT is the one type of client_assertion (RFC 7523 §2.2).
const assertionJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Presented is what a request brings to authenticate its client, as the door found
// it: the headers, and the parameters of RFC 6749 §2.3.1 and RFC 7521 §4.2. An
// empty parameter counts as left out; an Authorization header counts even when it
// is empty.
type Presented struct {
	Authorization            []string
	ID, Secret               string
	Assertion, AssertionType string
}

// Any reports whether any trace of client authentication, or of a client's name,
// came along. Where one did, the request stands or falls by it (S17).
func (p *Presented) Any() bool {
	return len(p.Authorization) > 0 || p.ID != "" || p.Secret != "" || p.Assertion != "" || p.AssertionType != ""
}

// errWrongClient is for what cannot even be asked about.
var errWrongClient = exchange.Fault(exchange.KindInvalidClient,
	"client authentication failed: leave out the Authorization header and the client_ parameters where the subject token is enough", nil)

// Prove proves the client: one method, whole (RFC 6749 §2.3). clients is nil where
// none is registered. The error is an *exchange.Error.
func (p *Presented) Prove(ctx context.Context, clients Clients, now time.Time) (client.Proven, error) {
	methods := 0
	for _, used := range [...]bool{len(p.Authorization) > 0, p.Secret != "", p.Assertion != "" || p.AssertionType != ""} {
		if used {
			methods++
		}
	}
	if methods > 1 {
		return client.Proven{}, Invalid("the client is authenticated in several ways: use one (RFC 6749 section 2.3)")
	}
	if clients == nil {
		return client.Proven{}, errWrongClient
	}
	switch {
	case len(p.Authorization) == 1:
		id, secret, ok := parseBasic(p.Authorization[0])
		if ok && (p.ID == "" || p.ID == id) {
			return clients.Secret(ctx, id, exchange.NewSecret(secret), now)
		}
	case len(p.Authorization) > 1:
	case p.Secret != "" && p.ID != "":
		return clients.Secret(ctx, p.ID, exchange.NewSecret(p.Secret), now)
	case p.Assertion != "" && p.AssertionType == assertionJWT:
		return clients.Assertion(ctx, p.ID, exchange.NewSecret(p.Assertion), now)
	}
	return client.Proven{}, errWrongClient
}

// Challenge is WWW-Authenticate beside invalid_client. It names the scheme that the
// caller tried, as RFC 6749 §5.2 asks; Basic is the one that every client knows.
func Challenge(authorization string) string {
	scheme, _, _ := strings.Cut(authorization, " ")
	for _, known := range [...]string{"Bearer", "DPoP"} {
		if strings.EqualFold(scheme, known) {
			return known + ` realm="cambio", error="invalid_client"`
		}
	}
	return `Basic realm="cambio", charset="UTF-8"`
}

// maxBasic bounds the Authorization header, in bytes.
const maxBasic = 2048

// parseBasic reads client_secret_basic (RFC 6749 §2.3.1): id and secret are
// form-encoded each, joined with a colon, and the whole is base64.
func parseBasic(header string) (id, secret string, ok bool) {
	scheme, text, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "Basic") || len(text) > maxBasic || strings.ContainsAny(text, "\r\n") {
		return "", "", false
	}
	plain, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || !utf8.Valid(plain) {
		return "", "", false
	}
	id, secret, found = strings.Cut(string(plain), ":")
	if !found {
		return "", "", false
	}
	id, okID := FormText(id)
	secret, okSecret := FormText(secret)
	return id, secret, okID && okSecret && id != "" && secret != ""
}

// UseClient puts the client that proved itself into the request whose syntax has
// been read. What it asks for is its default where it names nothing. The zero
// Proven is no client and changes nothing.
func UseClient(c *client.Proven, out *exchange.Request) error {
	if c.Client.Name == "" {
		return nil
	}
	if !slices.Contains(c.Client.Grants, out.Grant) {
		return exchange.Fault(exchange.KindUnauthorizedClient, "this client may not use this grant_type", nil)
	}
	out.Client, out.ClientHash, out.ClientOnce = c.Client.Name, c.Client.Hash, c.Once
	if out.Grant == exchange.GrantClientCredentials {
		out.Self = &c.Self
	} else {
		out.Presenter = &c.Self
	}
	if len(out.Audiences) == 0 && len(out.Resources) == 0 && c.Client.DefaultResource != "" {
		out.Resources = []string{c.Client.DefaultResource}
	}
	return nil
}
