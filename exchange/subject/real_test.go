package subject_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// minted is one entry of a manifest.
type minted struct {
	folder, raw string
	File        string    `json:"file"`
	Kind        string    `json:"kind"`
	Issuer      string    `json:"issuer"`
	Audience    []string  `json:"audience"`
	Subject     string    `json:"subject"`
	Algorithm   string    `json:"algorithm"`
	ValidAt     time.Time `json:"valid_at"`
	JWKS        string    `json:"jwks"`
	Verifies    bool      `json:"should_verify"`
}

func (r minted) name() string { return r.folder + "/" + r.File }

// bound are the tokens that need a proof we do not ask for.
func (r minted) bound() bool { return r.File == "access-token-dpop.jwt" }

// ours reports whether the token is for this service.
func (r minted) ours() bool {
	for _, a := range r.Audience {
		if a == "cambio" || a == "https://cambio.example" {
			return true
		}
	}
	return false
}

// trust is the trust under which the token is good, with these audiences.
func (r minted) trust(audiences ...string) exchange.Trust {
	t := exchange.Trust{
		Tenant: "default", Name: r.folder, Issuer: r.Issuer, Audiences: audiences,
		Keys: exchange.KeySource{File: filepath.Join("testdata/tokens", r.folder, r.JWKS)},
	}
	switch r.folder {
	case "kubernetes":
		t.Kind = exchange.TrustKubernetes
	case "spiffe":
		t.Kind, t.Issuer, t.TrustDomain = exchange.TrustSPIFFE, "", "acme.example"
	default:
		t.Kind = exchange.TrustOIDC
	}
	return t
}

func realTokens(t testing.TB) []minted {
	t.Helper()
	manifests, err := filepath.Glob("testdata/tokens/*/manifest.json")
	if err != nil || len(manifests) != 5 {
		t.Fatalf("five manifests: %v, %v", manifests, err)
	}
	var all []minted
	for _, m := range manifests {
		var entries []minted
		if err := json.Unmarshal(must(os.ReadFile(m)), &entries); err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			e.folder = filepath.Base(filepath.Dir(m))
			e.raw = string(must(os.ReadFile(filepath.Join(filepath.Dir(m), e.File))))
			all = append(all, e)
		}
	}
	if len(all) != 25 {
		t.Fatalf("%d tokens, want 25", len(all))
	}
	return all
}

// realBench is a verifier with the one trust of the token, at the moment at which
// it is valid.
func realBench(t testing.TB, r minted, audiences ...string) *bench {
	t.Helper()
	b := newBench(t, r.trust(audiences...))
	b.clock.now = r.ValidAt
	return b
}

// Each token's own audience is accepted here, so that what is tested is
// signature, issuer and time.
func TestRealTokensVerify(t *testing.T) {
	for _, r := range realTokens(t) {
		t.Run(r.name(), func(t *testing.T) {
			b := realBench(t, r, r.Audience...)
			if r.bound() {
				b.refuses(r.raw, exchange.KindInvalidSubject, "(cnf)") // the last check: the signature was good
				return
			}
			s := b.accepts(r.raw)
			if s.ID != r.Subject || s.Issuer != r.Issuer || s.Trust != r.folder || s.Tenant != "default" {
				t.Errorf("subject %q of %q by %s, want %q of %q", s.ID, s.Issuer, s.Trust, r.Subject, r.Issuer)
			}
			if s.KeyID == "" || s.Expires.IsZero() || s.Fingerprint == [32]byte{} {
				t.Errorf("incomplete: %+v", s)
			}
		})
	}
}

func TestRealTokensByAudience(t *testing.T) {
	accepted := 0
	for _, r := range realTokens(t) {
		t.Run(r.name(), func(t *testing.T) {
			b := realBench(t, r, "cambio", "https://cambio.example")
			switch {
			case r.bound():
				b.refuses(r.raw, exchange.KindInvalidSubject, "(cnf)")
			case r.ours():
				b.accepts(r.raw)
				accepted++
			default:
				b.refuses(r.raw, exchange.KindInvalidSubject, "another audience")
			}
		})
	}
	if accepted != 19 {
		t.Errorf("%d tokens were for us", accepted)
	}
}

func TestRealTokensBentAreRefused(t *testing.T) {
	bends := map[string]func(r minted) (raw string, words string){
		"signature, first bit": func(r minted) (string, string) {
			at := strings.LastIndexByte(r.raw, '.') + 1
			return r.raw[:at] + flip(r.raw[at]) + r.raw[at+1:], "signature"
		},
		"signature of another token": func(r minted) (string, string) {
			at := strings.LastIndexByte(r.raw, '.') + 1
			return r.raw[:at] + "A" + r.raw[at+1:len(r.raw)-1] + "A", ""
		},
		"signature cut":        func(r minted) (string, string) { return r.raw[:len(r.raw)-4], "" },
		"no signature":         func(r minted) (string, string) { return r.raw[:strings.LastIndexByte(r.raw, '.')+1], "malformed" },
		"no third part":        func(r minted) (string, string) { return r.raw[:strings.LastIndexByte(r.raw, '.')], "three parts" },
		"trailing newline":     func(r minted) (string, string) { return r.raw + "\n", "canonical" },
		"newline inside":       func(r minted) (string, string) { return r.raw[:9] + "\n" + r.raw[9:], "canonical" },
		"carriage return":      func(r minted) (string, string) { return r.raw[:9] + "\r" + r.raw[9:], "canonical" },
		"leading space":        func(r minted) (string, string) { return " " + r.raw, "canonical" },
		"padding":              func(r minted) (string, string) { return r.raw + "==", "canonical" },
		"trailing dot":         func(r minted) (string, string) { return r.raw + ".", "three parts" },
		"claims of another":    func(r minted) (string, string) { return swapClaims(r.raw, `"sub":"mallory"`), "" },
		"as bearer":            func(r minted) (string, string) { return "Bearer " + r.raw, "canonical" },
		"standard base64 plus": func(r minted) (string, string) { return r.raw[:len(r.raw)-1] + "+", "canonical" },
	}
	for _, r := range realTokens(t) {
		t.Run(r.name(), func(t *testing.T) {
			b := realBench(t, r, r.Audience...)
			for name, bend := range bends {
				raw, words := bend(r)
				if raw == r.raw {
					t.Fatalf("%s: not bent", name)
				}
				t.Run(name, func(t *testing.T) {
					b.t = t
					b.refuses(raw, exchange.KindInvalidSubject, words)
				})
			}
		})
	}
}

func flip(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^32])
}

// swapClaims adds a member to the claims and leaves the signature.
func swapClaims(raw, member string) string {
	parts := strings.Split(raw, ".")
	claims := string(must(decodeB64(parts[1])))
	parts[1] = b64([]byte("{" + member + "," + claims[1:]))
	return strings.Join(parts, ".")
}

func TestRealTokensExpire(t *testing.T) {
	for _, r := range realTokens(t) {
		t.Run(r.name(), func(t *testing.T) {
			b := realBench(t, r, r.Audience...)
			expires := expiryOf(t, r.raw)
			if !r.bound() {
				b.clock.now = expires.Add(-time.Nanosecond)
				b.accepts(r.raw)
			}
			for _, late := range []time.Duration{0, time.Second, 30 * time.Second, time.Hour} {
				b.clock.now = expires.Add(late)
				b.refuses(r.raw, exchange.KindInvalidSubject, "expired")
			}
		})
	}
}

func expiryOf(t testing.TB, raw string) time.Time {
	t.Helper()
	var c struct {
		Exp int64 `json:"exp"`
	}
	if err := json.Unmarshal(must(decodeB64(strings.Split(raw, ".")[1])), &c); err != nil {
		t.Fatal(err)
	}
	return time.Unix(c.Exp, 0)
}

func TestRealSubjects(t *testing.T) {
	want := map[string]struct {
		name       string
		attributes string
	}{
		"kubernetes/pod-bound.jwt": {
			"k8s:kubernetes:payments:worker",
			`{"namespace":["payments"],"node":["node-a"],"pod":["worker-7d9c5b6f4-x2k8q"],"pod_uid":["43e34c1b-5a49-42a4-a360-7bab3106997f"],"service_account":["worker"],"sub":["system:serviceaccount:payments:worker"],"uid":["6fef2c37-aee5-4a2b-9a43-26aec9e12cc6"]}`,
		},
		"kubernetes/ten-minutes.jwt": {
			"k8s:kubernetes:payments:ledger",
			`{"namespace":["payments"],"service_account":["ledger"],"sub":["system:serviceaccount:payments:ledger"],"uid":["45b78816-857d-4d34-8889-647c57d24b75"]}`,
		},
		"keycloak/access-token.jwt": {
			"oidc:keycloak:56f562b8-5449-4c0d-a6ce-370a9451b4e1",
			`{"azp":["acme-portal"],"email":["alice@acme.example"],"groups":["platform","security"],"sub":["56f562b8-5449-4c0d-a6ce-370a9451b4e1"]}`,
		},
		"keycloak/client-credentials.jwt": {
			"oidc:keycloak:382b16df-0b72-48a2-b970-073400756064",
			`{"azp":["nightly-batch"],"sub":["382b16df-0b72-48a2-b970-073400756064"]}`,
		},
		"oidc-provider/access-token.jwt": {
			"oidc:oidc-provider:dana",
			`{"azp":["acme-web"],"email":["dana@acme.example"],"groups":["support","oncall"],"sub":["dana"]}`,
		},
		"openbao/identity-es256.jwt": {
			"oidc:openbao:1519a7c0-d971-0fd2-9adc-d50dae7978c6",
			`{"groups":["deployers"],"sub":["1519a7c0-d971-0fd2-9adc-d50dae7978c6"]}`,
		},
		"spiffe/jwt-svid.jwt": {
			"spiffe:spiffe:spiffe%3A//acme.example/ns/payments/sa/worker",
			`{"id":["spiffe://acme.example/ns/payments/sa/worker"],"path":["/ns/payments/sa/worker"],"trust_domain":["acme.example"]}`,
		},
	}
	seen := 0
	for _, r := range realTokens(t) {
		w, ok := want[r.name()]
		if !ok {
			continue
		}
		seen++
		s := realBench(t, r, r.Audience...).accepts(r.raw)
		if got := string(marshal(s.Attributes)); s.Name != w.name || got != w.attributes {
			t.Errorf("%s:\n got %s %s\nwant %s %s", r.name(), s.Name, got, w.name, w.attributes)
		}
	}
	if seen != len(want) {
		t.Errorf("%d of %d tokens seen", seen, len(want))
	}
}

// The two DPoP proofs are JWTs too, and speak for nobody.
func TestRealDPoPProofsAreNoSubjects(t *testing.T) {
	for _, r := range realTokens(t) {
		if !r.bound() {
			continue
		}
		b := realBench(t, r, r.Audience...)
		for _, file := range []string{"dpop-proof-issuer.jwt", "dpop-proof-exchange.jwt"} {
			b.refuses(string(must(os.ReadFile(filepath.Join("testdata/tokens/oidc-provider", file)))), exchange.KindInvalidSubject, "malformed")
		}
	}
}

// The key of a token that was signed after a rotation is not in the older set.
func TestRealRotationIsAnUnknownKey(t *testing.T) {
	for _, r := range realTokens(t) {
		if r.name() != "kubernetes/after-rotation.jwt" {
			continue
		}
		r.JWKS = "jwks.json"
		realBench(t, r, r.Audience...).refuses(r.raw, exchange.KindInvalidSubject, "does not publish")
	}
}

// Keycloak marks ID tokens by a claim, oidc-provider by leaving client_id and
// scope out. The label is held against that only where it says id_token.
func TestRealTokensByLabel(t *testing.T) {
	id := map[string]bool{
		"keycloak/id-token.jwt": true, "keycloak/id-token-es256.jwt": true, "oidc-provider/id-token.jwt": true,
		"openbao/identity-es256.jwt": true, "openbao/identity-eddsa.jwt": true,
	}
	for _, r := range realTokens(t) {
		if r.bound() {
			continue
		}
		t.Run(r.name(), func(t *testing.T) {
			b := realBench(t, r, r.Audience...)
			for _, label := range []exchange.TokenType{exchange.TokenTypeJWT, exchange.TokenTypeAccessToken, ""} {
				if _, err := b.Verify(t.Context(), exchange.Token{Value: exchange.NewSecret(r.raw), Type: label}, r.ValidAt); err != nil {
					t.Errorf("labelled %q: %v", label, err)
				}
			}
			for range 2 { // from the start, and remembered
				_, err := b.Verify(t.Context(), exchange.Token{Value: exchange.NewSecret(r.raw), Type: exchange.TokenTypeIDToken}, r.ValidAt)
				if id[r.name()] != (err == nil) {
					t.Errorf("labelled as an ID token: %v", err)
				}
			}
			for _, label := range []exchange.TokenType{exchange.TokenTypeRefreshToken, "urn:ietf:params:oauth:token-type:saml2", "jwt"} {
				_, err := b.Verify(t.Context(), exchange.Token{Value: exchange.NewSecret(r.raw), Type: label}, r.ValidAt)
				wantError(t, err, exchange.KindInvalidSubject, "token type is not accepted")
			}
			_, err := b.Verify(t.Context(), exchange.Token{Value: exchange.NewSecret(r.raw), Type: exchange.TokenTypeIDJAG}, r.ValidAt)
			wantError(t, err, exchange.KindInvalidSubject, "labelled as an identity assertion grant")
		})
	}
}
