package oauth

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/cambio-sts/cambio/exchange"
)

// metadata is RFC 8414 §2 and OpenID Connect Discovery 1.0 §3 in one document. It
// lists what is there. Three members stand in it because clients refuse a
// document without them although they need none of the three: the SDKs of MCP
// want authorization_endpoint, `code` among the response types and S256 among the
// challenge methods. That endpoint exists and says that it grants nothing.
func (h *Handler) metadata() []byte {
	methods := []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}
	algorithms := []string{"ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"}
	var own ownEndpoints
	if h.Own != nil {
		own = ownEndpoints{
			Introspection: h.Issuer + introspectPath, IntrospectionMethods: methods, IntrospectionAlgorithms: algorithms,
			Revocation: h.Issuer + revokePath, RevocationMethods: methods, RevocationAlgorithms: algorithms,
		}
	}
	b, err := json.Marshal(struct {
		Issuer                string   `json:"issuer"`
		AuthorizationEndpoint string   `json:"authorization_endpoint"`
		TokenEndpoint         string   `json:"token_endpoint"`
		JWKS                  string   `json:"jwks_uri"`
		GrantTypes            []string `json:"grant_types_supported"`
		ResponseTypes         []string `json:"response_types_supported"`
		ChallengeMethods      []string `json:"code_challenge_methods_supported"`
		AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
		AuthAlgorithms        []string `json:"token_endpoint_auth_signing_alg_values_supported"`
		SubjectTypes          []string `json:"subject_types_supported"`
		Algorithms            []string `json:"id_token_signing_alg_values_supported"`
		GrantProfiles         []string `json:"authorization_grant_profiles_supported"`
		RequestedTypes        []string `json:"identity_chaining_requested_token_types_supported"`
		ClientDocuments       bool     `json:"client_id_metadata_document_supported"`
		ownEndpoints
	}{
		Issuer:                h.Issuer,
		AuthorizationEndpoint: h.Issuer + authorizePath,
		TokenEndpoint:         h.Issuer + tokenPath,
		JWKS:                  h.Issuer + jwksPath,
		GrantTypes:            grants,
		ResponseTypes:         []string{"code"},
		ChallengeMethods:      []string{"S256"},
		AuthMethods:           append([]string{"none"}, methods...),
		AuthAlgorithms:        algorithms,
		SubjectTypes:          []string{"public"},
		Algorithms:            algorithmsOf(h.Keys.AccessJWKS()),
		GrantProfiles:         []string{profileIDJAG},
		RequestedTypes:        []string{string(exchange.TokenTypeIDJAG)}, // for which targets, policy says
		ClientDocuments:       true,                                      // of the clients that policy names
		ownEndpoints:          own,
	})
	if err != nil { // strings always marshal
		return nil
	}
	return b
}

// profileIDJAG says that identity assertion grants are taken
// (draft-ietf-oauth-identity-assertion-authz-grant §7.2); of which issuers, policy
// says.
const profileIDJAG = "urn:ietf:params:oauth:grant-profile:id-jag"

// ownEndpoints are where tokens of ours are asked about and given back.
type ownEndpoints struct {
	Introspection           string   `json:"introspection_endpoint,omitempty"`
	IntrospectionMethods    []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	IntrospectionAlgorithms []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`
	Revocation              string   `json:"revocation_endpoint,omitempty"`
	RevocationMethods       []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	RevocationAlgorithms    []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`
}

// algorithmsOf lists the algorithms of a key set: what verifiers must expect.
func algorithmsOf(jwks []byte) []string {
	var set struct {
		Keys []struct {
			Algorithm string `json:"alg"`
		} `json:"keys"`
	}
	_ = json.Unmarshal(jwks, &set) // of our own making; an unreadable one lists nothing
	algorithms := []string{}
	for _, k := range set.Keys {
		if k.Algorithm != "" && !slices.Contains(algorithms, k.Algorithm) {
			algorithms = append(algorithms, k.Algorithm)
		}
	}
	slices.Sort(algorithms)
	return algorithms
}

// documentMaxAge is how long verifiers may keep a document, in seconds: far less
// than a new key is published before its first use.
const documentMaxAge = 300

// document serves a public document to anyone, browsers' scripts among them.
func (h *Handler) document(media string, body func() []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			header.Set("Allow", "GET, HEAD")
			h.refuse(w, r, exchange.Fault(exchange.KindMethodNotAllowed, "send GET", nil))
			return
		}
		b := body()
		header.Set("Content-Type", media)
		header.Set("Cache-Control", "public, max-age="+strconv.Itoa(documentMaxAge))
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("Content-Length", strconv.Itoa(len(b)))
		_, _ = w.Write(b)
	}
}

// authorize is the authorization endpoint, which grants nothing: there is no
// response type that it supports, and no client whose redirect URI could be
// trusted with saying so, so it says so here (RFC 6749 §4.1.2.1).
func (h *Handler) authorize(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD, POST")
		h.refuse(w, r, exchange.Fault(exchange.KindMethodNotAllowed, "send GET", nil))
		return
	}
	h.Refused(exchange.KindInvalidRequest)
	h.write(w, http.StatusBadRequest, failureBody("unsupported_response_type",
		"nobody logs in here: bring a token to "+h.Issuer+tokenPath, exchange.ID{}))
}
