package oci_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
	"github.com/cambio-sts/cambio/exchange/provider/oci/ocisandbox"
)

// badKeys are what people send for a public key.
func badKeys(t *testing.T) map[string][]byte {
	t.Helper()
	key := makeKey(2048)
	good := spki(t, key.Public())
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	large := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}
	even := &rsa.PublicKey{N: key.N, E: 4}
	return map[string][]byte{
		"none": nil, "junk": []byte("junk"), "1024 bits": spki(t, small), "8193 bits": spki(t, large), "an even exponent": spki(t, even),
		"a private key": pkcs8, "PKCS #1": x509.MarshalPKCS1PublicKey(&key.PublicKey), "with a tail": append(append([]byte{}, good...), 0),
		"cut": good[:len(good)-1], "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: good}),
		"a curve": spki(t, curve.Public()), "Edwards": spki(t, edwards), "base64": []byte(base64.StdEncoding.EncodeToString(good)),
	}
}

func claimsOf(t testing.TB, token string) map[string]any {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Error("the token's claims are no base64url")
	}
	claims := map[string]any{}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Error("the token's claims are no JSON")
	}
	return claims
}

// liar is an identity domain that answers with any token.
func liar(t testing.TB, answer func() (contentType, body string)) *desk {
	d := newDesk(t)
	d.server.Close()
	d.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		contentType, body := answer()
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(d.server.Close)
	d.settings.Domain, d.deps.HTTP = d.server.URL, d.server.Client()
	d.deps.Secret = func(provider.SecretRef, string) (exchange.Secret, error) { return clientSecret, nil }
	return d
}

func jwt(payload string) string {
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

// jwkOf is the claim for a key.
func jwkOf(key *rsa.PublicKey) string {
	return `{"kty":"RSA","n":"` + base64.RawURLEncoding.EncodeToString(key.N.Bytes()) + `","e":"AQAB"}`
}

// TestLies: an answer that is not what it should be is an error that says so, never
// a credential and never a panic.
func TestLies(t *testing.T) {
	own, other := jwkOf(&makeKey(2048).PublicKey), jwkOf(&makeKey(3072).PublicKey)
	token := func(payload string) string { return `{"token":"` + jwt(payload) + `"}` }
	for name, c := range map[string]struct{ contentType, body string }{
		"no token":            {"application/json", `{}`},
		"access_token":        {"application/json", `{"access_token":"` + jwt(`{"exp":4102444800,"jwk":`+own+`}`) + `"}`},
		"a number":            {"application/json", `{"token":1}`},
		"no JSON":             {"application/json", `token`},
		"another type":        {"text/plain", token(`{"exp":4102444800,"jwk":` + own + `}`)},
		"no JWT":              {"application/json", `{"token":"x"}`},
		"two parts":           {"application/json", `{"token":"a.b"}`},
		"no exp":              {"application/json", token(`{"jwk":` + own + `}`)},
		"exp a text":          {"application/json", token(`{"exp":"soon","jwk":` + own + `}`)},
		"exp null":            {"application/json", token(`{"exp":null,"jwk":` + own + `}`)},
		"exp beyond all time": {"application/json", token(`{"exp":1e300,"jwk":` + own + `}`)},
		"exp negative":        {"application/json", token(`{"exp":-1,"jwk":` + own + `}`)},
		"exp past":            {"application/json", token(`{"exp":1000,"jwk":` + own + `}`)},
		"no key":              {"application/json", token(`{"exp":4102444800}`)},
		"another's key":       {"application/json", token(`{"exp":4102444800,"jwk":` + other + `}`)},
		"no RSA key":          {"application/json", token(`{"exp":4102444800,"jwk":{"kty":"EC"}}`)},
		"key a number":        {"application/json", token(`{"exp":4102444800,"jwk":7}`)},
		"huge":                {"application/json", `{"token":"` + strings.Repeat("x", 1<<20) + `"}`},
		"large":               {"application/json", token(`{"exp":4102444800,"x":"` + strings.Repeat("x", 20<<10) + `"}`)},
	} {
		d := liar(t, func() (string, string) { return c.contentType, c.body })
		if got, err := d.vend(t); exchange.KindOf(err) != exchange.KindUnavailable || !got.Value.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, jwk := range map[string]string{"object": own, "text": string(must(json.Marshal(own)))} {
		d := liar(t, func() (string, string) {
			return "application/json; charset=utf-8", token(`{"exp":4102444800,"tenant":"not an OCID","jti":"with space","jwk":` + jwk + `}`)
		})
		c, err := d.vend(t)
		if err != nil || !strings.HasPrefix(c.Handle, "sha256:") || read(t, c).Tenancy != "" || !c.Expires.Equal(time.Unix(4102444800, 0)) {
			t.Errorf("jwk as %s: handle %s: %v", name, c.Handle, err)
		}
	}
	for _, claim := range []string{"tenant", "res_tenant"} {
		d := liar(t, func() (string, string) {
			return "application/json", token(`{"exp":4102444800,"` + claim + `":"` + ocisandbox.DefaultTenancy + `","jwk":` + own + `}`)
		})
		if c, err := d.vend(t); err != nil || read(t, c).Tenancy != ocisandbox.DefaultTenancy {
			t.Errorf("a tenancy in %s is not read: %v", claim, err)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// FuzzAnswer: no answer of a domain panics the driver, or makes it vend what names
// another key or no expiry.
func FuzzAnswer(f *testing.F) {
	own := jwkOf(&makeKey(2048).PublicKey)
	f.Add(`{"exp":4102444800,"jwk":` + own + `}`)
	f.Add(`{"exp":4102444800,"jwk":"{}"}`)
	f.Add(`{"jwk":{"kty":"RSA","n":"","e":""}}`)
	f.Add(`{"exp":1e999}`)
	f.Add(`null`)
	var payload string
	d := liar(f, func() (string, string) { return "application/json", `{"token":"` + jwt(payload) + `"}` })
	f.Fuzz(func(t *testing.T, p string) {
		payload = p
		c, err := d.vend(t)
		if err == nil && (c.Expires.IsZero() || !strings.Contains(p, base64.RawURLEncoding.EncodeToString(makeKey(2048).N.Bytes())) || len(c.Handle) > 256) {
			t.Errorf("%q is vended", p)
		}
	})
}

func TestSettingsAreChecked(t *testing.T) {
	good := func() *oci.Settings {
		return &oci.Settings{Domain: "https://idcs-0.identity.oraclecloud.com", Region: "us-ashburn-1", ClientID: "app", ClientSecret: "${secret:oci}", ResType: "llm"}
	}
	for name, c := range map[string]struct {
		change func(*oci.Settings)
		want   string // begins the one fault; empty: none
	}{
		"good":        {func(*oci.Settings) {}, ""},
		"with a port": {func(s *oci.Settings) { s.Domain = "https://idcs-0.identity.oraclecloud.com:443" }, ""},
		"loopback":    {func(s *oci.Settings) { s.Domain = "http://127.0.0.1:80" }, ""},
		"upst":        {func(s *oci.Settings) { s.Token, s.ResType = "upst", "" }, ""},
		"signed":      {func(s *oci.Settings) { s.Signed, s.ClientID, s.ClientSecret = "instance", "", "" }, ""},
		"all": {func(s *oci.Settings) {
			s.Subject, s.Claims, s.MaxTTL, s.Tenancy = []string{"namespace"}, map[string]string{"ext_a": "sub"}, time.Hour, "ocid1.tenancy.oc1..aaaa"
		}, ""},
		"no domain":            {func(s *oci.Settings) { s.Domain = "" }, "domain: "},
		"a slash":              {func(s *oci.Settings) { s.Domain += "/" }, "domain: "},
		"a path":               {func(s *oci.Settings) { s.Domain += "/oauth2" }, "domain: "},
		"plain http":           {func(s *oci.Settings) { s.Domain = "http://idcs-0.identity.oraclecloud.com" }, "domain: "},
		"a user":               {func(s *oci.Settings) { s.Domain = "https://a:b@idcs-0.identity.oraclecloud.com" }, "domain: "},
		"upper case":           {func(s *oci.Settings) { s.Domain = "https://IDCS-0.identity.oraclecloud.com" }, "domain: "},
		"no region":            {func(s *oci.Settings) { s.Region = "" }, "region: "},
		"a region's key":       {func(s *oci.Settings) { s.Region = "IAD" }, "region: "},
		"tenancy":              {func(s *oci.Settings) { s.Tenancy = "mine" }, "tenancy: "},
		"no client":            {func(s *oci.Settings) { s.ClientID, s.ClientSecret = "", "" }, "client_id: "},
		"the secret itself":    {func(s *oci.Settings) { s.ClientSecret = "hunter2" }, "client_secret: "},
		"both ways":            {func(s *oci.Settings) { s.Signed = "instance" }, "signed: "},
		"another principal":    {func(s *oci.Settings) { s.Signed, s.ClientID, s.ClientSecret = "user", "", "" }, "signed: "},
		"another token":        {func(s *oci.Settings) { s.Token = "jwt" }, "token: "},
		"no res_type":          {func(s *oci.Settings) { s.ResType = "" }, "res_type: "},
		"res_type with a upst": {func(s *oci.Settings) { s.Token = "upst" }, "res_type: "},
		"audience":             {func(s *oci.Settings) { s.Audience = "a b" }, "audience: "},
		"subject":              {func(s *oci.Settings) { s.Subject = []string{"{sub}"} }, "subject[0]: "},
		"four claims": {func(s *oci.Settings) {
			s.Claims = map[string]string{"ext_a": "a", "ext_b": "a", "ext_c": "a", "ext_d": "a"}
		}, "claims: "},
		"a claim without ext":   {func(s *oci.Settings) { s.Claims = map[string]string{"sub": "a"} }, "claims.sub: "},
		"13 hours":              {func(s *oci.Settings) { s.MaxTTL = 13 * time.Hour }, "max_ttl: "},
		"an hour of a upst":     {func(s *oci.Settings) { s.Token, s.ResType, s.MaxTTL = "upst", "", time.Hour }, "max_ttl: "},
		"shortest over longest": {func(s *oci.Settings) { s.MaxTTL, s.MinTTL = time.Minute, time.Hour }, "min_ttl: "},
	} {
		s := good()
		c.change(s)
		faults := s.Validate()
		if c.want == "" && len(faults) > 0 || c.want != "" && (len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), c.want)) {
			t.Errorf("%s: %v", name, faults)
		}
		for _, fault := range faults {
			if strings.Contains(fault.Error(), "hunter2") {
				t.Error("a fault shows the secret")
			}
		}
	}
}
