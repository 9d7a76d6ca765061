package devworld

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
)

// The names of the two issuers, and of the trusts that the sample policy gives
// them.
const (
	ClusterIssuer = "https://cluster.cambio-dev.test"
	CorpIssuer    = "https://corp.cambio-dev.test"
	ClusterTrust  = "cluster"
	CorpTrust     = "corp"
)

// KeyIDPrefix begins the id of every key made here.
const KeyIDPrefix = "cambio-dev-"

// Plays reports whether an issuer is one of a development world, this one or
// another.
func Plays(issuer string) bool {
	rest, ok := strings.CutPrefix(issuer, "https://")
	host, _, _ := strings.Cut(rest, "/")
	return ok && (host == "cambio-dev.test" || strings.HasSuffix(host, ".cambio-dev.test"))
}

// rsaBits is what a cluster's own service-account key has.
const rsaBits = 2048

// issuer signs tokens under one name.
type issuer struct {
	url    string
	typ    string // header `typ`; a cluster sends none
	key    *rsa.PrivateKey
	keyID  string
	signer jose.Signer
}

// newIssuer opens the key in file, or makes it.
func newIssuer(url, typ, file string, create bool) (*issuer, error) {
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) && create {
		key, err = makeKey(file)
	}
	if err != nil {
		return nil, err
	}
	i := &issuer{url: url, typ: typ, key: key}
	public := jose.JSONWebKey{Key: key.Public()}
	thumb, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("naming the key in %s: %w", file, err)
	}
	i.keyID = KeyIDPrefix + base64.RawURLEncoding.EncodeToString(thumb[:12])
	options := &jose.SignerOptions{}
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	i.signer, err = jose.NewSigner(jose.SigningKey{
		Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: i.keyID},
	}, options)
	if err != nil {
		return nil, fmt.Errorf("preparing to sign as %s: %w", url, err)
	}
	return i, nil
}

func makeKey(file string) (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return key, writeFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func readKey(file string) (*rsa.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(text); block != nil {
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if key, ok := parsed.(*rsa.PrivateKey); err == nil && ok {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%s holds no RSA key in PKCS #8: remove the data folder and start cambio dev again", file)
}

// jwks is the public half as RFC 7517 writes it.
func (i *issuer) jwks() ([]byte, error) {
	return json.MarshalIndent(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: i.key.Public(), KeyID: i.keyID, Algorithm: string(jose.RS256), Use: "sig"},
	}}, "", "  ")
}

// sign makes the compact form of claims.
func (i *issuer) sign(claims any) (exchange.Secret, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("encoding the claims: %w", err)
	}
	signed, err := i.signer.Sign(payload)
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("signing as %s: %w", i.url, err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("signing as %s: %w", i.url, err)
	}
	return exchange.NewSecret(compact), nil
}

// writeFile puts a whole file in place at once, so that no reader sees half.
func writeFile(file string, content []byte, mode fs.FileMode) error {
	draft, err := os.CreateTemp(filepath.Dir(file), ".draft-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name())
	_, err = draft.Write(content)
	if err = errors.Join(err, draft.Chmod(mode), draft.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return os.Rename(draft.Name(), file)
}
