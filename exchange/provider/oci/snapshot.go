package oci

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
)

// snapshot is what signs: a key and the token that names it, kept together and never
// changed. A renewal makes another, with the same key. The rest is what it asks with.
type snapshot struct {
	Token string `json:"token"`
	Key   string `json:"key"` // PKCS #8, base64
	identity
	From string `json:"from"` // driver.origin
}

// origin names whatever of the settings says who a token is for, and from where.
func (d *driver) origin() string {
	s := &d.settings
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []any{s.Domain, s.issues(), s.ResType, s.audience(), s.Subject, s.Claims}))
	return hex.EncodeToString(sum[:])
}

func (d *driver) seize(key *rsa.PrivateKey, t token, of identity) (exchange.Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("encoding a session's key: %w", err)
	}
	text, err := json.Marshal(snapshot{Token: t.text.Reveal(), Key: base64.StdEncoding.EncodeToString(der), identity: of, From: d.origin()})
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("encoding a session: %w", err)
	}
	return exchange.NewSecret(string(text)), nil
}

// release undoes seize.
func release(held exchange.Secret) (s snapshot, key *rsa.PrivateKey, err error) {
	if json.Unmarshal([]byte(held.Reveal()), &s) != nil || s.Token == "" {
		return s, nil, errors.New("a held session cannot be read")
	}
	der, err := base64.StdEncoding.DecodeString(s.Key)
	if err != nil {
		return s, nil, errors.New("a held session's key cannot be read")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return s, nil, errors.New("a held session's key is no RSA key")
	}
	return s, key, nil
}
