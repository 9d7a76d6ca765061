package issuer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
)

// rsaBits is the least that every cloud takes and none refuses.
const rsaBits = 2048

// generators make a private key for each algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
var generators = map[string]func(io.Reader) (crypto.Signer, error){
	"ES256": func(r io.Reader) (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), r) },
	"RS256": func(r io.Reader) (crypto.Signer, error) { return rsa.GenerateKey(r, rsaBits) },
	"EdDSA": func(r io.Reader) (crypto.Signer, error) {
		_, private, err := ed25519.GenerateKey(r)
		return private, err
	},
}

// tokenTypes are the `typ` headers by purpose: RFC 9068 §2.1, RFC 7519 §5.1.
var tokenTypes = map[string]jose.ContentType{purposeAccess: "at+jwt", purposeFederation: "JWT"}

// signingKey is one key that was opened and checked.
type signingKey struct {
	id        string
	algorithm string
	public    jose.JSONWebKey
	signer    *compactSigner
	grants    *compactSigner // of identity assertion grants; nil: the key signs none
	publishAt time.Time
	signAt    time.Time
	alone     bool
}

// sealedKey is what a row holds inside its seal. Algorithm and times are in it, so
// that whoever can write to the database can neither bring a retired key back nor
// keep a new one from signing (S4).
type sealedKey struct {
	Key       json.RawMessage `json:"key"` // a private JWK
	PublishAt int64           `json:"publish_at"`
	SignAt    int64           `json:"sign_at"`
	// Alone withdraws every key of the purpose that was published before this one.
	// It stands inside the seal so that a copy of a withdrawn row brings nothing
	// back.
	Alone bool `json:"alone,omitempty"`
}

// sealPurpose binds a seal to the kind of key; the row's kid is the id.
func sealPurpose(purpose string) string { return "signing key: " + purpose }

// newSealedKey makes a key and its row. Times are kept in whole seconds.
func newSealedKey(sealer *exchange.Sealer, random io.Reader, purpose, algorithm string, publishAt, signAt time.Time, alone bool) (SealedKey, error) {
	private, err := generators[algorithm](random)
	if err != nil {
		return SealedKey{}, fmt.Errorf("making a key: %w", err)
	}
	jwk := jose.JSONWebKey{Key: private, Algorithm: algorithm, Use: "sig"}
	if jwk.KeyID, err = thumbprint(&jwk); err != nil {
		return SealedKey{}, err
	}
	encoded, err := jwk.MarshalJSON()
	if err != nil {
		return SealedKey{}, fmt.Errorf("encoding a key: %w", err)
	}
	plain, err := json.Marshal(sealedKey{Key: encoded, PublishAt: publishAt.Unix(), SignAt: signAt.Unix(), Alone: alone})
	if err != nil {
		return SealedKey{}, fmt.Errorf("encoding a key: %w", err)
	}
	sealed, err := sealer.Seal(sealPurpose(purpose), jwk.KeyID, plain)
	if err != nil {
		return SealedKey{}, err
	}
	return SealedKey{
		Purpose: purpose, KeyID: jwk.KeyID, Algorithm: algorithm, Sealed: sealed,
		PublishAt: time.Unix(publishAt.Unix(), 0).UTC(), SignAt: time.Unix(signAt.Unix(), 0).UTC(),
	}, nil
}

// thumbprint is the key id: RFC 7638 §3, over the public half.
func thumbprint(k *jose.JSONWebKey) (string, error) {
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("naming a key: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// openKey opens a row and believes nothing of it but what was sealed.
func openKey(sealer *exchange.Sealer, row SealedKey) (*signingKey, error) {
	plain, err := sealer.Open(sealPurpose(row.Purpose), row.KeyID, row.Sealed)
	if err != nil {
		return nil, err
	}
	var inside sealedKey
	strict := json.NewDecoder(bytes.NewReader(plain))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&inside); err != nil {
		return nil, errors.New("what is sealed in it is not a key of this version")
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(inside.Key); err != nil {
		return nil, errors.New("what is sealed in it is not a JWK")
	}
	if !jwk.Valid() || jwk.IsPublic() {
		return nil, errors.New("what is sealed in it is not a private key")
	}
	id, err := thumbprint(&jwk)
	if err != nil {
		return nil, err
	}
	if id != row.KeyID {
		return nil, errors.New("its id is not the thumbprint of its key")
	}
	if _, known := generators[jwk.Algorithm]; !known {
		return nil, fmt.Errorf("its algorithm %q is none of ours", jwk.Algorithm)
	}
	jwk.KeyID = id
	signer, err := signerOf(&jwk, tokenTypes[row.Purpose])
	if err != nil {
		return nil, err
	}
	var grants *compactSigner
	if row.Purpose == purposeAccess {
		if grants, err = signerOf(&jwk, grantType); err != nil {
			return nil, err
		}
	}
	public := jwk.Public()
	public.Use = "sig"
	return &signingKey{
		id: id, algorithm: jwk.Algorithm, public: public, signer: signer, grants: grants,
		publishAt: time.Unix(inside.PublishAt, 0).UTC(), signAt: time.Unix(inside.SignAt, 0).UTC(), alone: inside.Alone,
	}, nil
}

// signerOf signs with a key under one `typ`.
func signerOf(jwk *jose.JSONWebKey, typ jose.ContentType) (*compactSigner, error) {
	private, ok := jwk.Key.(crypto.Signer)
	if !ok {
		return nil, errors.New("its key cannot sign")
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(jwk.Algorithm), Key: *jwk}, (&jose.SignerOptions{}).WithType(typ))
	if err != nil {
		return nil, fmt.Errorf("its algorithm does not fit its key: %w", err)
	}
	return newCompactSigner(signer, private, jwk.Algorithm)
}

// sign signs what the key is for.
func (k *signingKey) sign(payload []byte) (exchange.Secret, error) {
	return k.signAs(k.signer, payload)
}

// signGrant signs an identity assertion grant.
func (k *signingKey) signGrant(payload []byte) (exchange.Secret, error) {
	return k.signAs(k.grants, payload)
}

// signAs signs the payload and returns the compact serialization (RFC 7515 §7.1).
func (k *signingKey) signAs(signer *compactSigner, payload []byte) (exchange.Secret, error) {
	compact, err := signer.sign(payload)
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("signing with key %s: %w", k.id, err)
	}
	return exchange.NewSecret(compact), nil
}
