//go:build mcp

package testmcp

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// provide calls the tool with a token that a client's own provider gets.
func provide(t *testing.T, sdk string, r resource, settings map[string]any) principal {
	t.Helper()
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, sdk, "provider", r.url)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, tail(problems.String(), 12))
	}
	var p principal
	if err := json.Unmarshal(out.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// providers lets the SDKs' own ways to authorize get their tokens here.
func (h *house) providers(t *testing.T, servers []resource, secret string) {
	at := func(name string) resource {
		return servers[slices.IndexFunc(servers, func(r resource) bool { return r.name == name })]
	}
	t.Run("client credentials, Python", func(t *testing.T) {
		p := provide(t, "python", at("python-streamable"), map[string]any{
			"way": "client_credentials", "issuer": h.URL, "client_id": "batch", "client_secret": secret, "scope": "tools.read tools.call",
		})
		if p.Subject != "client:batch" || p.ClientID != "batch" {
			t.Errorf("%+v", p)
		}
	})
	t.Run("client credentials, Go, which names no resource", func(t *testing.T) {
		p := provide(t, "go", at("go-streamable"), map[string]any{"Issuer": h.URL, "ClientID": "batch", "ClientSecret": secret})
		if p.Subject != "client:batch" || p.ClientID != "batch" {
			t.Errorf("%+v", p)
		}
	})
	t.Run("private_key_jwt with a pod's token, Python, which steps up", func(t *testing.T) {
		p := provide(t, "python", at("python-streamable"), map[string]any{
			"way": "private_key_jwt", "issuer": h.URL, "client_id": "runner", "assertion": h.pod(t, "runner"),
		})
		if p.Subject != "k8s:cluster:agents:runner" || p.ClientID != "runner" || p.Scope != "tools.read tools.call" {
			t.Errorf("%+v", p)
		}
	})
	t.Run("a pod's token as the grant, Python", func(t *testing.T) {
		p := provide(t, "python", at("python-streamable"), map[string]any{"way": "workload", "assertion": h.pod(t, "worker")})
		if p.Subject != "k8s:cluster:agents:worker" || p.ClientID != p.Subject || p.Actor != nil {
			t.Errorf("%+v", p)
		}
	})
	t.Run("a client by its metadata document", func(t *testing.T) { h.document(t, at("python-streamable")) })
	t.Run("LiteLLM for a person", func(t *testing.T) { h.gateway(t, at("python-streamable"), secret) })
	t.Run("enterprise-managed authorization", func(t *testing.T) { h.managed(t, at("go-streamable")) })
}

// managed lets one Cambio be the identity provider of a company, and this one the
// authorization server of an MCP server that trusts it: the person's token buys a
// grant there, and the grant an access token here.
func (h *house) managed(t *testing.T, server resource) {
	idp := startHouse(t)
	thereSecret, thereLine := idp.secret(t)
	hereSecret, hereLine := h.secret(t)
	idp.policy(t, "wiki.yaml", `targets:
  wiki-app:
    mcp: {resource: "`+server.url+`", scopes: [tools.read, tools.call], id_jag: {audience: "`+h.URL+`", clients: {chat: chat-app}}}
clients:
  chat:
    `+thereLine+`
allow:
  - {name: people, subjects: [{trust: corp}], clients: [chat], targets: [wiki-app]}
`)
	response, err := http.Get(idp.URL + "/oauth2/jwks")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.Dir, "idp.jwks"), keys, 0o600); err != nil {
		t.Fatal(err)
	}
	h.policy(t, "idp.yaml", `trusts:
  idp: {oidc: {issuer: "`+idp.URL+`", audiences: [nobody], keys: {file: idp.jwks}, id_jag: true}}
clients:
  chat-app:
    `+hereLine+`
allow:
  - {name: people-of-the-idp, subjects: [{trust: idp}], targets: [`+server.name+`]}
`)
	// The grant opens nothing by itself, wherever it is shown.
	ask := url.Values{
		"grant_type": {tokenExchange}, "requested_token_type": {typeIDJAG}, "resource": {server.url}, "audience": {h.URL},
		"subject_token": {idp.person(t, "alice")}, "subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"},
	}
	var grant answer
	eventually(t, "a grant", func() bool {
		grant = idp.post(t, ask, "chat", thereSecret)
		return grant.Status == http.StatusOK
	}, func() string { return grant.Error + ": " + grant.Description })
	if grant.TokenType != "N_A" || grant.IssuedType != typeIDJAG {
		t.Errorf("the grant is %s of %s", grant.IssuedType, grant.TokenType)
	}
	c := startClient(t, "go", server)
	if r := c.do("open", grant.Token); r.Status != http.StatusUnauthorized {
		t.Errorf("the server takes the grant for a token: %d", r.Status)
	}
	for label, form := range map[string]url.Values{
		"as a subject token": {"grant_type": {tokenExchange}, "resource": {server.url}, "subject_token": {grant.Token}, "subject_token_type": {typeJWT}},
		"as an assertion":    {"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "resource": {server.url}, "assertion": {grant.Token}},
	} {
		if a := idp.post(t, form, "chat", thereSecret); a.Status == http.StatusOK {
			t.Errorf("it comes back to where it was made %s", label)
		}
	}
	eventually(t, "the trust in the identity provider", func() bool {
		a := h.post(t, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {grant.Token}}, "chat-app", hereSecret)
		return a.Status == http.StatusOK
	})

	want := "oidc:idp:oidc%3Acorp%3Aalice"
	t.Run("Go", func(t *testing.T) {
		p := provide(t, "go", server, map[string]any{
			"IdP": idp.URL, "IdPClientID": "chat", "IdPClientSecret": thereSecret, "IDToken": idp.person(t, "alice"),
			"Issuer": h.URL, "ClientID": "chat-app", "ClientSecret": hereSecret, "Scopes": []string{"tools.read", "tools.call"},
		})
		if p.Subject != want || p.ClientID != "chat-app" || p.Issuer != h.URL {
			t.Errorf("%+v", p)
		}
	})
	t.Run("Python", func(t *testing.T) {
		p := provide(t, "python", server, map[string]any{
			"way": "id_jag", "idp": idp.URL, "idp_client_id": "chat", "idp_client_secret": thereSecret, "id_token": idp.person(t, "alice"),
			"issuer": h.URL, "client_id": "chat-app", "client_secret": hereSecret,
		})
		if p.Subject != want || p.ClientID != "chat-app" || p.Issuer != h.URL {
			t.Errorf("%+v", p)
		}
	})
}
