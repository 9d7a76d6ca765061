package ocisandbox

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// Claims are those of a session token.
type Claims struct {
	Subject        string            `json:"sub"`
	Source         string            `json:"source_authn_prin,omitempty"` // who was impersonating, of a UPST
	Principal      string            `json:"ptype"`
	Tenant         string            `json:"tenant,omitempty"`
	Resource       string            `json:"res_type,omitempty"`
	ResourceTenant string            `json:"res_tenant,omitempty"`
	Propagated     map[string]string `json:"ext,omitempty"`
	Issuer         string            `json:"iss"`
	ID             string            `json:"jti"`
	Issued         int64             `json:"iat"`
	Expires        int64             `json:"exp,omitempty"`
	JWK            string            `json:"jwk"` // an object as a text, as Oracle has it
}

type jwk struct {
	Type      string `json:"kty"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
	N         string `json:"n"`
	E         string `json:"e"`
}

// mint signs a session token that names the key.
func (b *Sandbox) mint(c Claims, key *rsa.PublicKey, expires time.Time) (string, error) {
	named, err := json.Marshal(jwk{
		Type: "RSA", Algorithm: "RS256", Use: "sig", N: base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		E: base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	})
	if err != nil {
		return "", fmt.Errorf("writing the key: %w", err)
	}
	now := b.setup.World.Now()
	c.Issuer, c.ID, c.JWK = "authService.oracle.com", rand.Text(), string(named)
	c.Issued, c.Expires = now.Unix(), expires.Unix()
	switch b.Weather.Mood() {
	case sandbox.WithoutExpiry:
		c.Expires = 0
	case sandbox.PastExpiry:
		c.Expires = now.Add(-time.Hour).Unix()
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("writing the claims: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"asw_sandbox","alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(b.setup.World.Random, b.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing a session token: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// Principal is a session token as an instance of the tenancy has one, which may ask
// for RPSTs by signed requests. It lives a day.
func (b *Sandbox) Principal(key *rsa.PublicKey) (string, error) {
	return b.mint(Claims{Subject: "ocid1.instance.oc1..sandbox", Principal: "instance", ResourceTenant: b.setup.Tenancy}, key, b.setup.World.Now().Add(24*time.Hour))
}

// open verifies a session token and gives the key that its requests are signed with.
func (b *Sandbox) open(text string) (Claims, *rsa.PublicKey, error) {
	bad := errors.New("the session token is none of this tenancy's")
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return Claims{}, nil, bad
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return Claims{}, nil, bad
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if rsa.VerifyPKCS1v15(&b.key.PublicKey, crypto.SHA256, sum[:], signature) != nil {
		return Claims{}, nil, bad
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}, nil, bad
	}
	var c Claims
	var k jwk
	if json.Unmarshal(payload, &c) != nil || json.Unmarshal([]byte(c.JWK), &k) != nil {
		return Claims{}, nil, bad
	}
	if b.setup.World.Now().Unix() >= c.Expires {
		return Claims{}, nil, errors.New("the session token has expired")
	}
	n, err1 := base64.RawURLEncoding.DecodeString(k.N)
	e, err2 := base64.RawURLEncoding.DecodeString(k.E)
	if err1 != nil || err2 != nil {
		return Claims{}, nil, bad
	}
	return c, &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
}
