package subject

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
)

const (
	maxKeyDocument = 1 << 20 // bytes of a JWK Set or a discovery document
	maxKeys        = 128     // in one set
	minRSABits     = 2048    // NIST SP 800-131A
	maxRSABits     = 8192    // beyond, one verification costs milliseconds
)

// key is one public key that may verify.
type key struct {
	id        string // `kid`; may be empty
	algorithm string // `alg`; empty: any that fits its type
	public    crypto.PublicKey
	print     [sha256.Size]byte // RFC 7638 thumbprint: the key itself, whatever its name
	heading   atomic.Pointer[heading]
}

// keySet is what an issuer publishes, as of one moment. It never changes.
type keySet struct {
	sum    [sha256.Size]byte // of the document
	byID   map[string][]*key
	all    []*key
	prints map[[sha256.Size]byte]bool
}

// parseKeySet reads a JWK Set (RFC 7517 §5) or a SPIFFE bundle. Keys that cannot
// be used here are passed over, as §5 asks; a set that is left empty is a fact
// about the issuer (it withdrew its keys), not a fault.
func parseKeySet(document []byte, kind exchange.TrustKind) (*keySet, error) {
	if len(document) > maxKeyDocument {
		return nil, fmt.Errorf("the JWK Set is longer than %d bytes", maxKeyDocument)
	}
	set := &keySet{
		sum: sha256.Sum256(document), byID: map[string][]*key{}, prints: map[[sha256.Size]byte]bool{},
	}
	object, err := decodeObject(string(document))
	if err != nil {
		return nil, fmt.Errorf("reading the JWK Set: %w", err)
	}
	list, ok := object["keys"].([]any)
	if !ok {
		return nil, errors.New(`reading the JWK Set: it has no array "keys"`)
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("the JWK Set holds %d keys, more than %d", len(list), maxKeys)
	}
	bundle := kind == exchange.TrustSPIFFE && slices.ContainsFunc(list, isBundleKey)
	for _, e := range list {
		members, ok := e.(map[string]any)
		if !ok {
			return nil, errors.New("reading the JWK Set: a key is not an object")
		}
		k, ok := readKey(members, bundle)
		if !ok {
			continue
		}
		set.all = append(set.all, k)
		set.prints[k.print] = true
		if k.id != "" {
			set.byID[k.id] = append(set.byID[k.id], k)
		}
	}
	return set, nil
}

// isBundleKey tells a SPIFFE bundle (SPIFFE Trust Domain and Bundle §4.2.2) from
// the plain JWK Set that an OpenID provider beside it serves.
func isBundleKey(e any) bool {
	members, _ := e.(map[string]any)
	use, _ := members["use"].(string)
	return use == "jwt-svid" || use == "x509-svid"
}

// readKey turns one JWK into a key, or passes it over: of another type, for
// encryption, too weak, or published with its private half.
func readKey(members map[string]any, bundle bool) (*key, bool) {
	want := "sig"
	if bundle {
		want = "jwt-svid"
	}
	if use, present := members["use"]; present && use != want || !present && bundle {
		return nil, false
	}
	if operations, present := members["key_ops"]; present {
		list, _ := operations.([]any)
		if !slices.Contains(list, any("verify")) {
			return nil, false
		}
	}
	if _, private := members["d"]; private {
		return nil, false
	}
	// Only what makes the key is handed on: certificates and URLs (`x5c`, `x5u`)
	// are neither read nor followed.
	essence := map[string]any{}
	for _, name := range []string{"kty", "crv", "x", "y", "n", "e"} {
		if value, present := members[name]; present {
			essence[name] = value
		}
	}
	encoded, err := json.Marshal(essence)
	if err != nil {
		return nil, false
	}
	var parsed jose.JSONWebKey
	if parsed.UnmarshalJSON(encoded) != nil || !parsed.IsPublic() || !strong(parsed.Key) {
		return nil, false
	}
	k := &key{public: parsed.Key}
	var ok bool
	if id, present := members["kid"]; present {
		if k.id, ok = id.(string); !ok || k.id == "" || len(k.id) > maxName {
			return nil, false
		}
	}
	if algorithm, present := members["alg"]; present {
		if k.algorithm, ok = algorithm.(string); !ok {
			return nil, false
		}
	}
	sum, err := parsed.Thumbprint(crypto.SHA256)
	if err != nil || len(sum) != len(k.print) {
		return nil, false
	}
	copy(k.print[:], sum)
	return k, true
}

// strong also bounds what one verification costs.
func strong(public crypto.PublicKey) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		bits := k.N.BitLen()
		return bits >= minRSABits && bits <= maxRSABits && k.E >= 3 && k.E%2 == 1
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// fits reports whether the key may verify signatures of the algorithm: its type
// and curve (RFC 7518 §3), and its own `alg` where it has one.
func (k *key) fits(algorithm jose.SignatureAlgorithm) bool {
	if k.algorithm != "" && k.algorithm != string(algorithm) {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		switch algorithm {
		case jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
			return true
		}
	case *ecdsa.PublicKey:
		switch algorithm {
		case jose.ES256:
			return public.Curve == elliptic.P256()
		case jose.ES384:
			return public.Curve == elliptic.P384()
		case jose.ES512:
			return public.Curve == elliptic.P521()
		}
	case ed25519.PublicKey:
		return algorithm == jose.EdDSA
	}
	return false
}

// candidates are the keys that could have made the signature. A token that names
// a key gets that key or none; one that names none gets every key that fits.
func (s *keySet) candidates(p *presented) []*key {
	from := s.all
	if p.keyID != "" {
		from = s.byID[p.keyID]
	}
	var out []*key
	for _, k := range from {
		if k.fits(p.algorithm) {
			out = append(out, k)
		}
	}
	return out
}

// holds reports whether a key that once verified still stands, under its old name.
func (s *keySet) holds(k *key) bool {
	if k.id == "" {
		return s.prints[k.print]
	}
	return slices.ContainsFunc(s.byID[k.id], func(other *key) bool { return other.print == k.print })
}
