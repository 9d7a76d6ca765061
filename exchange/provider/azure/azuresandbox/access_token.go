package azuresandbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// accessToken is what a token of this directory says.
type accessToken struct {
	Audience  string
	App       string // client id
	User      string // user principal name; empty: the application itself
	Assertion sandbox.Claims
	Issued    time.Time
	Expires   time.Time
}

// claims are those of a v1.0 access token (Microsoft identity platform, "Access
// token claims reference"), and, under `sandbox`, what no real one tells: the
// assertion that it was bought with.
type claims struct {
	Audience string `json:"aud"`
	Issuer   string `json:"iss"`
	Issued   int64  `json:"iat"`
	Before   int64  `json:"nbf"`
	Expires  int64  `json:"exp"`
	App      string `json:"appid"`
	AppACR   string `json:"appidacr"`
	IDP      string `json:"idp"`
	Object   string `json:"oid"`
	Subject  string `json:"sub"`
	Tenant   string `json:"tid"`
	UPN      string `json:"upn,omitempty"`
	Scope    string `json:"scp,omitempty"`
	UTI      string `json:"uti"`
	Version  string `json:"ver"`
	IDType   string `json:"idtyp,omitempty"`
	Sandbox  struct {
		Subject   string `json:"subject"`
		Assertion string `json:"assertion"`
	} `json:"sandbox"`
}

func (s *Sandbox) issuer() string { return "https://sts.windows.net/" + s.options.TenantID + "/" }

func (s *Sandbox) sign(t accessToken) (string, error) {
	k, err := s.signer()
	if err != nil {
		return "", err
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", err
	}
	c := claims{
		Audience: t.Audience, Issuer: s.issuer(), Issued: t.Issued.Unix(), Before: t.Issued.Unix(), Expires: t.Expires.Unix(),
		App: t.App, AppACR: "2", IDP: s.issuer(), Tenant: s.options.TenantID, UTI: base64.RawURLEncoding.EncodeToString(id[:]), Version: "1.0",
	}
	principal := t.App
	if t.User != "" {
		principal, c.UPN, c.Scope = t.User, t.User, "user_impersonation"
	} else {
		c.IDType = "app"
	}
	c.Object, c.Subject = object(principal), object(principal)
	c.Sandbox.Subject, c.Sandbox.Assertion = t.Assertion.Subject, t.Assertion.ID
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	signed, err := k.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// object is a principal's object id in the directory.
func object(principal string) string {
	sum := sha256.Sum256([]byte("object " + principal))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// open verifies a token of this directory, save its time and its audience.
func (s *Sandbox) open(text string) (accessToken, error) {
	k, err := s.signer()
	if err != nil {
		return accessToken{}, err
	}
	signed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return accessToken{}, errors.New("the token is no signed JWT")
	}
	payload, err := signed.Verify(k.Public.Key)
	if err != nil {
		return accessToken{}, errors.New("the token is not of this directory")
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil || c.Issuer != s.issuer() {
		return accessToken{}, errors.New("the token is not of this tenant")
	}
	return accessToken{
		Audience: c.Audience, App: c.App, User: c.UPN, Issued: time.Unix(c.Issued, 0), Expires: time.Unix(c.Expires, 0),
		Assertion: sandbox.Claims{Subject: c.Sandbox.Subject, ID: c.Sandbox.Assertion},
	}, nil
}

// UserToken is what a user who signs in to an application of the directory holds:
// an access token for it, as on-behalf-of takes one.
func (s *Sandbox) UserToken(user, clientID string, life time.Duration) (exchange.Secret, error) {
	if user == "" {
		return exchange.Secret{}, errors.New("a user has a name")
	}
	now := s.now()
	text, err := s.sign(accessToken{Audience: "api://" + clientID, App: clientID, User: user, Issued: now, Expires: now.Add(life)})
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("signing a user's token: %w", err)
	}
	return exchange.NewSecret(text), nil
}
