package vault_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
	"github.com/cambio-sts/cambio/exchange/provider/vault"
	"github.com/cambio-sts/cambio/exchange/provider/vault/baotest"
)

// appRole makes an AppRole for this house.
func (y *yard) appRole(t testing.TB, changes map[string]any) vault.Auth {
	t.Helper()
	mount := y.name + "-approle"
	if _, err := y.bao.Try(t.Context(), y.namespace, http.MethodPost, "sys/auth/"+mount, map[string]any{"type": "approle"}); err != nil && !strings.Contains(err.Error(), "in use") {
		t.Fatal(err)
	}
	role := map[string]any{"token_policies": []string{y.name}, "token_ttl": "20m"}
	for k, v := range changes {
		role[k] = v
	}
	path := "auth/" + mount + "/role/house"
	y.write(t, path, role)
	a, err := y.bao.Try(t.Context(), y.namespace, http.MethodGet, path+"/role-id", nil)
	if err != nil {
		t.Fatal(err)
	}
	y.secrets["house"] = y.write(t, path+"/secret-id", nil)["data"].(map[string]any)["secret_id"].(string)
	return vault.Auth{Method: vault.MethodAppRole, Mount: mount, RoleID: a["data"].(map[string]any)["role_id"].(string), SecretID: "${secret:house}"}
}

// cluster is a Kubernetes API server as far as TokenReview goes: it verifies what its
// own issuer has signed.
func (y *yard) cluster(t testing.TB) (*providertest.Federation, vault.Auth) {
	t.Helper()
	issuer := providertest.NewFederation(t)
	issuer.Issuer = "https://kubernetes.default.svc"
	issuer.Bend = func(claims map[string]any) {
		parts := strings.Split(claims["sub"].(string), ":")
		claims["aud"] = []string{claims["aud"].(string)}
		claims["sub"] = "system:serviceaccount:llm:" + parts[len(parts)-1]
		claims["kubernetes.io"] = map[string]any{"namespace": "llm", "serviceaccount": map[string]any{"name": parts[len(parts)-1], "uid": "uid-" + parts[len(parts)-1]}}
	}
	verifier := sandbox.NewAssertions(issuer.World())
	server := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var review struct {
			Spec struct {
				Token     string
				Audiences []string
			}
		}
		if r.URL.Path != "/apis/authentication.k8s.io/v1/tokenreviews" || r.Header.Get("Authorization") != "Bearer reviewer-of-the-test" ||
			json.NewDecoder(r.Body).Decode(&review) != nil {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		status := map[string]any{"authenticated": false}
		if claims, err := verifier.Verify(review.Spec.Token, sandbox.Expect{List: true}); err == nil {
			account := claims.All["kubernetes.io"].(map[string]any)["serviceaccount"].(map[string]any)
			status = map[string]any{"authenticated": true, "audiences": review.Spec.Audiences, "user": map[string]any{
				"username": claims.Subject, "uid": account["uid"],
				"groups": []string{"system:serviceaccounts", "system:serviceaccounts:llm"},
			}}
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(rw).Encode(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
	}))
	t.Cleanup(server.Close)
	mount := y.name + "-k8s"
	y.write(t, "sys/auth/"+mount, map[string]any{"type": "kubernetes"})
	y.write(t, "auth/"+mount+"/config", map[string]any{
		"kubernetes_host": server.URL, "token_reviewer_jwt": "reviewer-of-the-test", "disable_local_ca_jwt": true,
		"kubernetes_ca_cert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
	})
	y.write(t, "auth/"+mount+"/role/llm", map[string]any{
		"bound_service_account_names": []string{"gateway"}, "bound_service_account_namespaces": []string{"llm"},
		"audience": "vault", "token_policies": []string{y.name}, "token_ttl": "20m",
	})
	return issuer, vault.Auth{Method: vault.MethodKubernetes, Mount: mount, Role: "llm"}
}

// workload is a service account's token for Vault.
func workload(t testing.TB, cluster *providertest.Federation, account, audience string) exchange.Token {
	t.Helper()
	now := time.Now()
	value, err := cluster.Assert(context.Background(), exchange.Assertion{
		Tenant: "default", Target: "x", Values: []string{account}, Audience: audience, Endpoint: "x",
		Issued: now.Truncate(time.Second), Expires: now.Add(5 * time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	return exchange.Token{Value: value, Type: exchange.TokenTypeJWT}
}

// TestKubernetes: the workload logs in as itself, by its own token.
func TestKubernetes(t *testing.T) {
	y := newYard(t)
	s := y.kv(t, 2, map[string]any{"key": "vended-value-one"})
	issuer, auth := y.cluster(t)
	s.Auth, s.Field = auth, "key"
	bring := func(token exchange.Token) func(*exchange.Grant) {
		return func(g *exchange.Grant) { g.Passthrough = token }
	}
	if c := y.must(t, s, bring(workload(t, issuer, "gateway", "vault"))); c.Value.Reveal() != "vended-value-one" {
		t.Error("another value")
	}
	for name, k := range map[string]struct {
		token exchange.Token
		kind  exchange.Kind
		words string
	}{
		"none":             {kind: exchange.KindInvalidRequest, words: "passthrough_token"},
		"another account":  {workload(t, issuer, "other", "vault"), exchange.KindProviderRefused, "auth.role"},
		"another audience": {workload(t, issuer, "gateway", "elsewhere"), exchange.KindProviderRefused, "audience"},
		"another cluster":  {workload(t, func() *providertest.Federation { other, _ := newYard(t).cluster(t); return other }(), "gateway", "vault"), exchange.KindProviderRefused, "fresh"},
		"no token at all":  {exchange.Token{Value: exchange.NewSecret("junk-of-the-test")}, exchange.KindProviderRefused, "fresh"},
	} {
		_, err := y.vend(t, s, bring(k.token))
		if exchange.KindOf(err) != k.kind || !strings.Contains(err.Error(), k.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAppRole: this house logs in by its own secret, which goes to that host alone.
func TestAppRole(t *testing.T) {
	y := newYard(t)
	s := y.kv(t, 2, map[string]any{"key": "vended-value-one"})
	s.Auth, s.Field = y.appRole(t, nil), "key"
	if c := y.must(t, s); c.Value.Reveal() != "vended-value-one" {
		t.Error("another value")
	}
	y.secrets["house"] = "another-secret-id"
	_, err := y.vend(t, s)
	if exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "auth.secret_id") || strings.Contains(err.Error(), "another-secret-id") {
		t.Errorf("%v", err)
	}
	delete(y.secrets, "house")
	if _, err = y.vend(t, s); exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "auth.secret_id") {
		t.Errorf("%v", err)
	}
}

// TestNamespace: login, path, lease and logout are all in the target's namespace.
func TestNamespace(t *testing.T) {
	bao := baotest.Start(t)
	bao.Write(t, "sys/namespaces/team", nil)
	y := newYardOn(t, bao, "team")
	s, d := y.database(t)
	c := y.must(t, s)
	data := open(t, c.Value.Reveal()).Data
	if err := connect(t.Context(), d, data); err != nil {
		t.Fatal(err)
	}
	driver := y.driver(t, s)
	if _, err := driver.(provider.Renewer).Renew(t.Context(), nil, c.RevokeWith, time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	if err := driver.(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith); err != nil || connect(t.Context(), d, data) == nil {
		t.Errorf("it lives on: %v", err)
	}
}

// TestS1AssertionsGoToVaultAlone, with the audience of the target and this house's name
// for it.
func TestS1AssertionsGoToVaultAlone(t *testing.T) {
	y := newYard(t)
	s := y.kv(t, 2, map[string]any{"key": "vended-value-one"})
	s.Auth.Subject = []string{"subject", "namespace"}
	y.must(t, s, func(g *exchange.Grant) { g.Subject.Attributes = exchange.Attributes{"namespace": {"llm"}} })
	asked := y.federation.Asked()
	a := asked[len(asked)-1]
	if a.Audience != audience || a.Endpoint != "127.0.0.1" || a.Target != "suite" || fmt.Sprint(a.Values) != "[k8s:prod:llm:gateway llm]" || a.Expires.Sub(a.Issued) != 5*time.Minute {
		t.Errorf("%+v", a)
	}
	if _, err := y.vend(t, s); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("without the attribute: %v", err)
	}
}

// TestNothingOfTheEnvironment: what the API's own client would take from there.
func TestNothingOfTheEnvironment(t *testing.T) {
	y := newYard(t)
	for name, value := range map[string]string{
		"VAULT_ADDR": "https://elsewhere.example", "VAULT_TOKEN": "token-of-the-environment", "VAULT_NAMESPACE": "elsewhere",
		"VAULT_HEADERS": `{"X-Bad": "x"}`, "VAULT_CACERT": "/none", "VAULT_MAX_RETRIES": "many", "VAULT_WRAP_TTL": "1m",
	} {
		t.Setenv(name, value)
	}
	s := y.kv(t, 2, map[string]any{"key": "vended-value-one"})
	s.Field = "key"
	if c := y.must(t, s); c.Value.Reveal() != "vended-value-one" {
		t.Error("another value")
	}
}

// TestCheck proves what can be proven, and hands nothing out.
func TestCheck(t *testing.T) {
	y := newYard(t)
	s := y.kv(t, 2, map[string]any{"key": "vended-value-one"})
	_, kubernetes := y.cluster(t)
	check := func(auth vault.Auth) error {
		t.Helper()
		s.Auth = auth
		return y.driver(t, s).(provider.Checker).Check(t.Context())
	}
	jwt := s.Auth
	for name, auth := range map[string]vault.Auth{"jwt": jwt, "kubernetes": kubernetes, "approle": y.appRole(t, nil)} {
		if err := check(auth); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		auth.Mount = "none"
		if err := check(auth); err == nil && auth.Method != vault.MethodKubernetes {
			t.Errorf("%s: a mount that is not there is found good", name)
		}
	}
	y.role(t, "open", map[string]any{"bound_claims": map[string]string{}})
	jwt.Role = "open"
	if err := check(jwt); exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "bound_claims") {
		t.Errorf("a role that lets all in: %v", err)
	}
	jwt.Role, jwt.Audience = "suite", "another"
	if err := check(jwt); exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "auth.audience") {
		t.Errorf("%v", err)
	}
	if n := y.tokens(t); n != 0 {
		t.Errorf("%d logins live on", n)
	}
}
