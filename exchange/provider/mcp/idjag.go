package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// maxClientID bounds what another authorization server calls a client, in bytes.
const maxClientID = 256

// IDJAGSettings make a target one whose resource is behind another authorization
// server. What it vends is our word to that server, an identity assertion grant
// (draft-ietf-oauth-identity-assertion-authz-grant), and no access token.
type IDJAGSettings struct {
	// Audience is the issuer of that authorization server, to the byte.
	Audience string `yaml:"audience" json:"audience" jsonschema:"required,description=Issuer of the authorization server of the resource; becomes the grant's audience to the byte"`
	// ClientID is the client there whom any client of ours redeems through.
	ClientID string `yaml:"client_id,omitempty" json:"client_id,omitempty" jsonschema:"description=The client at that server who redeems grants; for callers that clients does not name"`
	// Clients are what registered clients of ours are called there.
	Clients map[string]string `yaml:"clients,omitempty" json:"clients,omitempty" jsonschema:"description=For registered clients: the client_id of each at that server"`
}

func (s *IDJAGSettings) validate(resource string) []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("id_jag."+format, args...)) }
	if err := checkIssuer(s.Audience); err != nil {
		fault("audience: %w", err)
	} else if s.Audience == resource {
		fault("audience: it is the resource itself: name the issuer of its authorization server")
	}
	if s.ClientID == "" && len(s.Clients) == 0 {
		fault("client_id: say as which client the grants are redeemed there, by client_id for any caller or by clients for each")
	}
	if s.ClientID != "" && !validClientID(s.ClientID) {
		fault("client_id: printable ASCII, %d bytes at most", maxClientID)
	}
	for ours, theirs := range s.Clients {
		if ours == "" || !validClientID(theirs) {
			fault("clients: %q: name a client of this policy, and its client_id there in printable ASCII of %d bytes at most", ours, maxClientID)
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return faults
}

// validClientID is RFC 6749 appendix A.1: visible ASCII and the space.
func validClientID(id string) bool {
	return id != "" && len(id) <= maxClientID && !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' })
}

// checkIssuer holds an issuer to RFC 8414 §2. It is compared to the byte, so it is
// taken as it is written, with a slash at the end or without.
func checkIssuer(issuer string) error {
	if issuer == "" {
		return errors.New("name the issuer of the authorization server, such as https://as.example")
	}
	if err := checkResource(issuer); err != nil {
		return err
	}
	if u, err := url.Parse(issuer); err != nil || u.RawQuery != "" || u.ForceQuery {
		return fmt.Errorf("%q has a query: leave it out (RFC 8414 section 2)", issuer)
	}
	return nil
}

// granter vends identity assertion grants.
type granter struct {
	settings Settings
	granter  provider.Granter
	now      func() time.Time
	random   io.Reader
}

// Local marks that nothing is left outside: what the other server makes of a grant
// is between it and its client.
func (*granter) Local() {}

// Vend signs a grant for the resource's authorization server.
func (d *granter) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	client := d.settings.IDJAG.ClientID
	if theirs := d.settings.IDJAG.Clients[g.Client]; theirs != "" {
		client = theirs
	}
	if client == "" {
		return exchange.Credential{}, exchange.Fault(exchange.KindUnauthorizedClient,
			"grants for this target are made for registered clients that its authorization server knows: authenticate as one of them", nil)
	}
	token, err := newToken(g, exchange.MaxIDJAGLifetime, d.now(), d.random)
	if err != nil {
		return exchange.Credential{}, err
	}
	token.Audience, token.ClientID = d.settings.IDJAG.Audience, client
	value, err := d.granter.MintIDJAG(ctx, exchange.IDJAG{AccessToken: token, Resource: d.settings.Resource})
	if err != nil {
		return exchange.Credential{}, err
	}
	return exchange.Credential{
		Value: value, TokenType: "N_A", IssuedType: exchange.TokenTypeIDJAG,
		Issued: token.Issued, Expires: token.Expires, Scopes: g.Scopes, Handle: token.ID.String(), Lease: token.ID,
	}, nil
}
