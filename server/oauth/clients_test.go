package oauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
	"github.com/cambio-sts/cambio/exchange/policy"
	verify "github.com/cambio-sts/cambio/exchange/subject"
	"github.com/cambio-sts/cambio/server/oauth"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	jwtBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	mcp           = "https://mcp.example/github"
	prodIssuer    = "https://oidc.prod.example"
)

// signer signs as a client or a cluster would.
type signer struct {
	t testing.TB
	jose.Signer
}

func newSigner(t testing.TB, file, typ string) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{t: t, Signer: signerOf(t, key, file, typ)}
}

// signerOf writes the public key into file, if that is named.
func signerOf(t testing.TB, key *ecdsa.PrivateKey, file, typ string) jose.Signer {
	t.Helper()
	o := &jose.SignerOptions{}
	if typ != "" {
		o = o.WithType(jose.ContentType(typ))
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, o)
	if err != nil {
		t.Fatal(err)
	}
	if file == "" {
		return s
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s signer) sign(claims map[string]any) string {
	s.t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	signed, err := s.Sign(text)
	if err != nil {
		s.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		s.t.Fatal(err)
	}
	return compact
}

// shelf is a registry of one provider.
type shelf struct{}

type place struct {
	Resource string `yaml:"resource"`
}

func (shelf) Kinds() []string { return []string{"place"} }
func (shelf) New(kind string) (any, bool) {
	return new(place), kind == "place"
}
func (shelf) Inspect(settings any) (exchange.Facts, []error) {
	p, ok := settings.(*place)
	if !ok {
		return exchange.Facts{}, []error{errors.New("other settings")}
	}
	return exchange.Facts{Resource: p.Resource, Own: true, Types: []exchange.TokenType{exchange.TokenTypeAccessToken}}, nil
}

// registry is a policy with a client of each kind, and what each signs with.
type registry struct {
	*client.Authenticator
	secret           string // of desk, as of shop
	gateway, cluster signer
}

func newRegistry(t testing.TB) *registry {
	t.Helper()
	dir := t.TempDir()
	r := &registry{
		gateway: newSigner(t, filepath.Join(dir, "gateway.jwks"), "client-authentication+jwt"),
		cluster: newSigner(t, filepath.Join(dir, "cluster.jwks"), ""),
	}
	secret, hash, err := client.NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r.secret = secret.Reveal()
	revision, err := policy.Load(fstest.MapFS{"policy.yaml": {Data: []byte(`
trusts:
  prod: {kubernetes: {issuer: ` + prodIssuer + `, audiences: [cambio], keys: {file: cluster.jwks}}}
clients:
  desk: {secret: {sha256: ` + hash + `}, default_resource: ` + mcp + `}
  shop: {secret: {sha256: ` + hash + `}, grants: [client_credentials]}
  server: {secret: {sha256: ` + hash + `}, serves: [` + mcp + `]}
  gateway: {private_key_jwt: {keys: {file: gateway.jwks}, algorithms: [ES256]}}
  runner: {trust: {trust: prod, namespace: ci, service_account: runner}}
  twin-a: {trust: {trust: prod, namespace: ci, service_account: twin}}
  twin-b: {trust: {trust: prod, namespace: ci, service_account: "twi*"}}
targets: {github-mcp: {place: {resource: ` + mcp + `}}}
allow: [{name: all, subjects: [{subject: "*"}], targets: ["*"]}]
`)}}, policy.Options{Providers: shelf{}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return start }
	trusts, clients := verify.New(verify.Options{Now: now}), verify.New(verify.Options{Now: now, ForClients: true})
	if err := errors.Join(trusts.Load(revision.Trusts()), clients.Load(client.Trusts(revision.Clients(), issuer))); err != nil {
		t.Fatal(err)
	}
	r.Authenticator = client.New(client.Options{
		Directory: func() client.Directory { return revision }, Tokens: trusts, Assertions: clients, Issuer: issuer,
	})
	return r
}

// assertion is one of gateway, changed as said: nil takes a claim out.
func (r *registry) assertion(change map[string]any) string {
	return r.gateway.sign(gatewayClaims(change))
}

func gatewayClaims(change map[string]any) map[string]any {
	claims := map[string]any{
		"iss": "gateway", "sub": "gateway", "aud": issuer, "jti": rand.Text(), "iat": start.Unix(), "exp": start.Unix() + 60,
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// token is one of a service account in the namespace ci.
func (r *registry) token(account string, change map[string]any) string {
	claims := map[string]any{
		"iss": prodIssuer, "sub": "system:serviceaccount:ci:" + account, "aud": []string{"cambio"}, "jti": rand.Text(),
		"iat": start.Unix(), "nbf": start.Unix(), "exp": start.Unix() + 3600,
		"kubernetes.io": map[string]any{"namespace": "ci", "serviceaccount": map[string]string{"name": account, "uid": "0"}},
	}
	maps.Copy(claims, change)
	return r.cluster.sign(claims)
}

func openClients(t testing.TB) (*door, *registry) {
	t.Helper()
	r := newRegistry(t)
	return openDoor(t, func(o *oauth.Options) { o.Clients = r }), r
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

// credentials asks for the client itself.
func credentials(pairs ...string) string {
	return with(append([]string{"grant_type", "client_credentials", "subject_token", "", "subject_token_type", ""}, pairs...)...)
}

func bearing(pairs ...string) string {
	return with(append([]string{"grant_type", jwtBearer, "subject_token", "", "subject_token_type", ""}, pairs...)...)
}

// RFC 6749 §2.3.1: both ways of sending a secret, and §4.4: the client is the
// subject.
func TestRFC6749Section4_4ClientCredentials(t *testing.T) {
	d, r := openClients(t)
	d.send(credentials(), "Authorization", basic("desk", r.secret)).wantIssued(t)
	x := d.bureau.only()
	if x.Client != "desk" || x.Self.Name != "client:desk" || x.Self.Kind != exchange.TrustClient || !x.Self.Expires.After(start) || x.ClientOnce != nil {
		t.Errorf("%+v", x)
	}
	for name, body := range map[string]string{
		"client_secret_post": credentials("client_id", "desk", "client_secret", r.secret),
		"private_key_jwt":    credentials("client_assertion", r.assertion(nil), "client_assertion_type", assertionType),
		"with client_id":     credentials("client_id", "gateway", "client_assertion", r.assertion(nil), "client_assertion_type", assertionType),
		"a trust's token":    credentials("client_assertion", r.token("runner", nil), "client_assertion_type", assertionType),
		"one of two by name": credentials("client_id", "twin-b", "client_assertion", r.token("twin", nil), "client_assertion_type", assertionType),
		"empty parameters":   credentials("client_id", "desk", "client_secret", r.secret) + "&client_assertion=&client_assertion_type=&subject_token=&assertion=",
	} {
		t.Run(name, func(t *testing.T) {
			d.t = t
			d.send(body).wantIssued(t)
		})
	}
	d.send(credentials()).wantFailure(t, http.StatusUnauthorized, "invalid_client")
	for name, pairs := range map[string][]string{
		"a subject":      {"subject_token", subject},
		"an actor":       {"actor_token", actor, "actor_token_type", jwtType},
		"an assertion":   {"assertion", subject},
		"a subject type": {"subject_token_type", jwtType},
	} {
		t.Run(name, func(t *testing.T) {
			d := openDoor(t, func(o *oauth.Options) { o.Clients = r })
			d.send(credentials(append(pairs, "client_id", "desk", "client_secret", r.secret)...)).wantFailure(t, http.StatusBadRequest, "invalid_request")
			d.bureau.none()
		})
	}
}

// S3: the token's client is the registered one, and a client by token is the
// token's subject.
func TestS3ClientIsTheRegisteredOne(t *testing.T) {
	d, r := openClients(t)
	d.send(credentials("client_assertion", r.token("runner", nil), "client_assertion_type", assertionType)).wantIssued(t)
	if x := d.bureau.only(); x.Client != "runner" || x.Self.Name != "k8s:prod:ci:runner" || x.Self.Trust != "prod" {
		t.Errorf("%+v", x)
	}
}

// The target that a client means by naming none.
func TestDefaultResource(t *testing.T) {
	d, r := openClients(t)
	d.send(credentials("audience", ""), "Authorization", basic("desk", r.secret)).wantIssued(t)
	if x := d.bureau.only(); len(x.Resources) != 1 || x.Resources[0] != mcp {
		t.Errorf("%+v", x)
	}
	d, r = openClients(t)
	d.send(credentials("audience", "other"), "Authorization", basic("desk", r.secret)).wantIssued(t)
	if x := d.bureau.only(); len(x.Resources) != 0 {
		t.Errorf("a named target is joined by %v", x.Resources)
	}
}

// RFC 6749 §5.2: a client that may not use a grant.
func TestRFC6749Section5_2UnauthorizedClient(t *testing.T) {
	d, r := openClients(t)
	d.send(with(), "Authorization", basic("shop", r.secret)).wantFailure(t, http.StatusBadRequest, "unauthorized_client")
	d.send(bearing("assertion", subject), "Authorization", basic("shop", r.secret)).wantFailure(t, http.StatusBadRequest, "unauthorized_client")
	d.bureau.none()
}

// S17, RFC 6749 §5.2, RFC 7523 §3.2: whatever is wrong with a credential, it is 401
// with a challenge, never 500, and never an exchange without a client.
func TestS17ClientCredentialFaults(t *testing.T) {
	r := newRegistry(t)
	stranger := newSigner(t, "", "client-authentication+jwt")
	subjectTyped := newSigner(t, "", "at+jwt")
	later, early := start.Unix()+3600, start.Unix()-3600
	assertion := func(change map[string]any) []string {
		return []string{"client_assertion", r.assertion(change), "client_assertion_type", assertionType}
	}
	for name, pairs := range map[string][]string{
		"unknown client":            {"client_id", "nobody", "client_secret", r.secret},
		"wrong secret":              {"client_id", "desk", "client_secret", r.secret[:len(r.secret)-1] + "x"},
		"a secret of a person":      {"client_id", "desk", "client_secret", "hunter2"},
		"secret of a keyed client":  {"client_id", "gateway", "client_secret", r.secret},
		"secret without client_id":  {"client_secret", r.secret},
		"client_id alone":           {"client_id", "desk"},
		"expired":                   assertion(map[string]any{"exp": early}),
		"no exp":                    assertion(map[string]any{"exp": nil}),
		"exp too far":               assertion(map[string]any{"exp": later}),
		"not yet (nbf)":             assertion(map[string]any{"nbf": start.Unix() + 120}),
		"from the future (iat)":     assertion(map[string]any{"iat": start.Unix() + 120}),
		"other audience":            assertion(map[string]any{"aud": "https://other.example"}),
		"token endpoint as aud":     assertion(map[string]any{"aud": issuer + "/oauth2/token"}),
		"two audiences":             assertion(map[string]any{"aud": []string{issuer, "https://other.example"}}),
		"no audience":               assertion(map[string]any{"aud": nil}),
		"no jti":                    assertion(map[string]any{"jti": nil}),
		"iss of another":            assertion(map[string]any{"iss": "desk"}),
		"sub of another":            assertion(map[string]any{"sub": "desk"}),
		"an actor in it":            assertion(map[string]any{"act": map[string]any{"sub": "x"}}),
		"claims of other types":     assertion(map[string]any{"exp": "soon", "aud": 7}),
		"client_id of another":      append(assertion(nil), "client_id", "desk"),
		"another's key":             {"client_assertion", stranger.sign(gatewayClaims(nil)), "client_assertion_type", assertionType},
		"another's key and typ":     {"client_assertion", subjectTyped.sign(gatewayClaims(nil)), "client_assertion_type", assertionType},
		"token of no client":        {"client_assertion", r.token("nobody", nil), "client_assertion_type", assertionType},
		"token of two clients":      {"client_assertion", r.token("twin", nil), "client_assertion_type", assertionType},
		"delegated token":           {"client_assertion", r.token("runner", map[string]any{"act": map[string]any{"sub": "x"}}), "client_assertion_type", assertionType},
		"expired token":             {"client_assertion", r.token("runner", map[string]any{"exp": early}), "client_assertion_type", assertionType},
		"token, client_id of other": {"client_assertion", r.token("runner", nil), "client_assertion_type", assertionType, "client_id", "twin-a"},
		"assertion without type":    {"client_assertion", r.assertion(nil)},
		"assertion of other type":   {"client_assertion", r.assertion(nil), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, body := range []string{with(pairs...), credentials(pairs...), bearing(append([]string{"assertion", subject}, pairs...)...)} {
				d := openDoor(t, func(o *oauth.Options) { o.Clients = r })
				d.send(body).wantFailure(t, http.StatusUnauthorized, "invalid_client")
				d.bureau.none()
			}
		})
	}
	for name, header := range map[string]string{
		"wrong secret": basic("desk", "hunter2"), "unknown client": basic("nobody", r.secret), "no colon": "Basic ZGVzaw==", "empty": "",
		"other scheme": "Bearer " + r.secret, "no base64": "Basic %%%", "no secret": basic("desk", ""), "empty id": basic("", r.secret),
		"not form-encoded": "Basic " + base64.StdEncoding.EncodeToString([]byte("desk%zz:"+r.secret)),
	} {
		t.Run("Authorization: "+name, func(t *testing.T) {
			d := openDoor(t, func(o *oauth.Options) { o.Clients = r })
			d.send(with(), "Authorization", header).wantFailure(t, http.StatusUnauthorized, "invalid_client")
			d.bureau.none()
		})
	}
}

// RFC 6749 §2.3: one method a request.
func TestRFC6749Section2_3OneMethod(t *testing.T) {
	r := newRegistry(t)
	for _, pairs := range [][]string{
		{"client_id", "desk", "client_secret", r.secret},
		{"client_assertion", r.assertion(nil), "client_assertion_type", assertionType},
	} {
		d := openDoor(t, func(o *oauth.Options) { o.Clients = r })
		d.send(with(pairs...), "Authorization", basic("desk", r.secret)).wantFailure(t, http.StatusBadRequest, "invalid_request")
		d.bureau.none()
	}
}

// RFC 7523 §3: an assertion buys one request.
func TestRFC7523Section3Replay(t *testing.T) {
	d, r := openClients(t)
	body := credentials("client_assertion", r.assertion(nil), "client_assertion_type", assertionType)
	d.send(body).wantIssued(t)
	d.send(body).wantFailure(t, http.StatusUnauthorized, "invalid_client")
}

// The typ of client assertions is their own, JWT, or absent; leeway is half a
// minute.
func TestRFC7523Section3Accepted(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for typ, taken := range map[string]bool{
		"client-authentication+jwt": true, "JWT": true, "": true, "at+jwt": false, "oauth-id-jag+jwt": false, "dpop+jwt": false, "logout+jwt": false,
	} {
		s := signer{t: t, Signer: signerOf(t, key, filepath.Join(dir, "gateway.jwks"), typ)}
		v := verify.New(verify.Options{Now: func() time.Time { return start }, ForClients: true})
		c := exchange.Client{Tenant: "default", Name: "gateway", Keys: exchange.KeySource{File: filepath.Join(dir, "gateway.jwks")}}
		if err := v.Load(client.Trusts([]exchange.Client{c}, issuer)); err != nil {
			t.Fatal(err)
		}
		_, err := v.Verify(t.Context(), exchange.Token{Value: exchange.NewSecret(s.sign(gatewayClaims(map[string]any{"iat": start.Unix() + 20}))), Type: exchange.TokenTypeJWT}, start)
		if (err == nil) != taken {
			t.Errorf("typ %q: %v", typ, err)
		}
	}
}

// S12: jwt-bearer takes a subject's token and nothing of another kind.
func TestS12JWTBearerDispatch(t *testing.T) {
	d, _ := openClients(t)
	d.send(bearing("assertion", subject)).wantIssued(t)
	if x := d.bureau.only(); x.SubjectToken.Value.Reveal() != subject || x.Client != "" || x.Grant != jwtBearer {
		t.Errorf("%+v", x)
	}
	for name, pairs := range map[string][]string{
		"no assertion":     {},
		"subject_token":    {"assertion", subject, "subject_token", subject, "subject_token_type", jwtType},
		"type of a token":  {"assertion", subject, "subject_token_type", jwtType},
		"two assertions":   {"assertion", subject, "assertion", subject},
		"actor, no type":   {"assertion", subject, "actor_token", actor},
		"subject, no more": {"subject_token", subject, "subject_token_type", jwtType},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := openClients(t)
			d.send(bearing(pairs...)).wantFailure(t, http.StatusBadRequest, "invalid_request")
			d.bureau.none()
		})
	}
	d, _ = openClients(t)
	d.send(with("assertion", subject)).wantFailure(t, http.StatusBadRequest, "invalid_request")
	// RFC 7521 §4.1.1: what the verifier refuses is the grant.
	for kind, code := range map[exchange.Kind]string{
		exchange.KindInvalidSubject: "invalid_grant", exchange.KindReplayed: "invalid_grant", exchange.KindInvalidTarget: "invalid_target", exchange.KindInvalidActor: "invalid_request",
	} {
		d, _ := openClients(t)
		d.bureau.answer = refusing(kind, "no")
		d.send(bearing("assertion", subject)).wantFailure(t, http.StatusBadRequest, code)
	}
	// A client may bring the assertion, too.
	d, r := openClients(t)
	d.send(bearing("assertion", subject), "Authorization", basic("desk", r.secret)).wantIssued(t)
	if x := d.bureau.only(); x.Client != "desk" || x.Self != nil {
		t.Errorf("%+v", x)
	}
}

// Whatever comes as a client's credential, nothing begins without a right one, and
// nothing answers 500.
func FuzzClientAuthentication(f *testing.F) {
	r := newRegistry(f)
	f.Add(basic("desk", r.secret), "", "")
	f.Add("Basic Og==", "gateway", "")
	f.Add("", "", r.assertion(nil))
	f.Add("", "desk", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJnYXRld2F5In0.")
	f.Add("", "", "a.b.c")
	f.Add("Basic "+base64.StdEncoding.EncodeToString([]byte("%64esk:x:y")), "desk", "")
	f.Fuzz(func(t *testing.T, header, id, assertion string) {
		right := header == basic("desk", r.secret)
		form := url.Values{"grant_type": {"client_credentials"}, "audience": {"github-mcp"}, "client_id": {id}}
		if assertion != "" {
			form.Set("client_assertion", assertion)
			form.Set("client_assertion_type", assertionType)
		}
		b := &bureau{t: t}
		w := serveForm(t, b, r, form.Encode(), header)
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for _, x := range b.seen {
			if x.Client != "desk" && x.Client != "gateway" || x.Client == "desk" && !right && header == "" {
				t.Fatalf("%+v", x)
			}
		}
		if w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
			t.Fatal("401 without a challenge")
		}
	})
}
