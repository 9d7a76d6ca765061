package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// FuzzToken: nothing but the tokens that the issuer made is let in, and each refusal has
// a challenge and nothing of the token.
func FuzzToken(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	clock := time.Unix(1_900_000_000, 0)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "one"))
	if err != nil {
		f.Fatal(err)
	}
	make := func(claims string) string {
		signed, err := signer.Sign([]byte(claims))
		if err != nil {
			f.Fatal(err)
		}
		text, _ := signed.CompactSerialize()
		return text
	}
	good := make(`{"iss":"https://idp.example","aud":"gw","exp":1900000600}`)
	parts := strings.Split(good, ".")
	loose := good[:len(good)-1] + string(good[len(good)-1]+1) // other bits where the encoding has none
	for _, seed := range []string{
		good, loose, good + ".", "." + good, good + "=", parts[0] + "." + parts[1] + ".", parts[1] + "." + parts[0] + "." + parts[2],
		make(`{"iss":"https://idp.example","aud":"gw","exp":1e400}`), make(`{"iss":"https://idp.example","aud":"gw","exp":-1}`),
		make(`{"iss":["https://idp.example"],"aud":{"gw":1},"exp":1900000600}`), make(`[]`), make(`{"iss":"https://idp.example","aud":"gw","exp":1900000600,"nbf":"x"}`),
		"", "..", "a.b.c",
	} {
		f.Add("Bearer " + seed)
		f.Add(seed)
	}
	g, err := newGate(Gateway{Issuer: "https://idp.example", Audience: "gw", JWKSURL: "https://127.0.0.1:1/never"}, func() time.Time { return clock })
	if err != nil {
		f.Fatal(err)
	}
	k := newKeys("https://idp.example", "https://127.0.0.1:1/never", nil, []string{"ES256"}, func() time.Time { return clock })
	public, _ := json.Marshal(map[string]any{"keys": []jose.JSONWebKey{{Key: key.Public(), KeyID: "one"}}})
	if k.set, err = parseKeys(public); err != nil || len(k.set) != 1 {
		f.Fatal(err)
	}
	k.fetched, k.asked = clock, clock // just now: the issuer is not asked
	g.verifier = g.verifierOf(k)
	f.Fuzz(func(t *testing.T, authorization string) {
		v, refused := g.verify((&http.Request{Header: http.Header{"Authorization": {authorization}}}).WithContext(t.Context()))
		if refused == nil {
			if v.token.Reveal() != good {
				t.Fatal("a token was let in that the issuer did not make so")
			}
			return
		}
		if refused.status != http.StatusUnauthorized || refused.challenge == "" || len(authorization) > 20 && strings.Contains(refused.message, authorization[8:]) {
			t.Fatalf("status %d, or the refusal shows the token", refused.status)
		}
	})
}

// FuzzKeys: whatever an issuer says, its keys are public ones, and not many.
func FuzzKeys(f *testing.F) {
	for _, seed := range []string{
		`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"keys":null}`, `[]`, `{"keys":[1,"x",null]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := parseKeys(text)
		if err != nil && len(set) > 0 || len(set) > maxKeys {
			t.Fatalf("%d keys, %v", len(set), err)
		}
		for _, key := range set {
			if !key.IsPublic() || !key.Valid() {
				t.Fatal("a key that is not public, or none")
			}
		}
	})
}
