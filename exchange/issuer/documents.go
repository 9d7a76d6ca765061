package issuer

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// AccessJWKS is the JWK Set (RFC 7517 §5) of the access-token issuer. The bytes
// are shared: do not change them.
func (i *Issuer) AccessJWKS() []byte { return i.access.current.Load().jwks }

// FederationJWKS is the JWK Set of the federation issuer. The bytes are shared: do
// not change them.
func (i *Issuer) FederationJWKS() []byte { return i.federation.current.Load().jwks }

// AccessAlgorithms are the algorithms of the published access-token keys.
func (i *Issuer) AccessAlgorithms() []string { return i.access.current.Load().algorithms() }

// renderJWKS writes the public halves.
func renderJWKS(keys []*signingKey) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, 0, len(keys))}
	for _, k := range keys {
		if !k.public.IsPublic() { // never a private key, whatever happens to the code above
			return nil, fmt.Errorf("key %s has no public half to publish", k.id)
		}
		set.Keys = append(set.Keys, k.public)
	}
	document, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("writing the JWK Set: %w", err)
	}
	return document, nil
}

func (s *snapshot) algorithms() []string {
	var list []string
	for _, k := range s.keys {
		if !slices.Contains(list, k.algorithm) {
			list = append(list, k.algorithm)
		}
	}
	slices.Sort(list)
	return list
}

// FederationDiscovery is the document at
// <issuer>/federation/.well-known/openid-configuration, with what clouds read of
// OpenID Connect Discovery 1.0 §3. There is nothing to log in to, so it names no
// authorization endpoint.
func (i *Issuer) FederationDiscovery() []byte {
	document, err := json.Marshal(struct {
		Issuer     string   `json:"issuer"`
		JWKS       string   `json:"jwks_uri"`
		Responses  []string `json:"response_types_supported"`
		Subjects   []string `json:"subject_types_supported"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
		Claims     []string `json:"claims_supported"`
	}{
		Issuer: i.FederationURL(), JWKS: i.FederationURL() + "/jwks",
		Responses: []string{"id_token"}, Subjects: []string{"public"},
		Algorithms: i.federation.current.Load().algorithms(),
		Claims:     []string{"aud", "exp", "iat", "iss", "jti", "sub"},
	})
	if err != nil { // strings only: cannot happen
		panic("issuer: writing the discovery document: " + err.Error())
	}
	return document
}
