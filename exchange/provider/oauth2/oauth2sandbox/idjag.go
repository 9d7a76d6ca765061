package oauth2sandbox

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

const (
	grantKeyID = "grants"
	grantType  = "oauth-id-jag+jwt"
)

// World is what another server knows of this one, to take its identity assertion
// grants. at is its address.
func (s *Server) World(at string) sandbox.World {
	return sandbox.World{
		Issuer: at, Now: s.house.Now, Random: s.house.Random,
		Keys: func() []byte {
			set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: grantKeyID, Algorithm: "ES256", Use: "sig"}}})
			if err != nil {
				panic(err) // an ECDSA key always marshals
			}
			return set
		},
	}
}

// grantIdentity makes an identity assertion grant for another server (ID-JAG §4.3).
func (s *Server) grantIdentity(w http.ResponseWriter, r *http.Request, t Token) {
	form := r.PostForm
	if form.Get("audience") == "" || form.Get("audience") == base(r) || t.Client == "" {
		sandbox.OAuthError(w, http.StatusBadRequest, "invalid_target", "the audience is no other server, or the client is missing")
		return
	}
	now := s.house.Now()
	grant, err := s.sign(map[string]any{
		"iss": base(r), "sub": t.Subject, "aud": form.Get("audience"), "client_id": t.Client, "resource": form.Get("resource"),
		"scope": form.Get("scope"), "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	})
	if err != nil {
		sandbox.OAuthError(w, http.StatusInternalServerError, "server_error", "internal")
		return
	}
	answer := map[string]any{"access_token": grant, "issued_token_type": typeIDJAG, "token_type": "N_A", "expires_in": 300, "scope": form.Get("scope")}
	if s.BendToken != nil {
		s.BendToken(answer)
	}
	sandbox.JSON(w, http.StatusOK, answer)
}

func (s *Server) sign(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key, KeyID: grantKeyID}}, (&jose.SignerOptions{}).WithType(grantType))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// bearer takes an assertion for a subject (RFC 7523 §3.1): a grant of the identity
// provider is told by its `typ`, and is good for the client that it names, once.
func (s *Server) bearer(w http.ResponseWriter, r *http.Request, c Client) {
	assertion := r.PostForm.Get("assertion")
	if typeOf(assertion) != grantType {
		subject, ok := s.speaker(r, assertion)
		if !ok {
			sandbox.OAuthError(w, http.StatusBadRequest, "invalid_grant", "the assertion is not taken")
			return
		}
		s.issue(w, r, Token{Client: c.ID, Subject: subject})
		return
	}
	claims, ok := s.granted(r, assertion)
	if !ok || claims.All["client_id"] != c.ID || claims.All["resource"] != base(r)+s.setup.Resource {
		sandbox.OAuthError(w, http.StatusBadRequest, "invalid_grant", "the grant is not taken")
		return
	}
	scope, _ := claims.All["scope"].(string)
	scopes := strings.Fields(scope)
	if scopes == nil {
		scopes = []string{}
	}
	actor, _ := claims.All["act"].(map[string]any)
	name, _ := actor["sub"].(string)
	s.issue(w, r, Token{Client: c.ID, Subject: claims.Subject, Actor: name, Scopes: scopes})
}

// granted verifies an identity assertion grant, by whichever issuer made it.
func (s *Server) granted(r *http.Request, grant string) (sandbox.Claims, bool) {
	for _, issuer := range s.grants {
		claims, err := issuer.Verify(grant, sandbox.Expect{
			Audiences: []string{base(r)}, Algorithms: []jose.SignatureAlgorithm{jose.ES256}, MaxLife: 10 * time.Minute, SingleUse: true,
		})
		if err == nil {
			return claims, true
		}
	}
	return sandbox.Claims{}, false
}

func typeOf(token string) string {
	signed, err := jose.ParseSignedCompact(token, append([]jose.SignatureAlgorithm{jose.PS256}, algorithms...))
	if err != nil {
		return ""
	}
	typ, _ := signed.Signatures[0].Header.ExtraHeaders[jose.HeaderType].(string)
	return typ
}
