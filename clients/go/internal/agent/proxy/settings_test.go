package proxy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/proxy"
)

// Each row is what is wrong, and the keys of the faults.
func TestSettings(t *testing.T) {
	const route = "{name: r, target: gpt, upstream: 'https://u.example', paths: [/v1/**]%s}"
	for _, one := range []struct {
		more string // of the route, or the settings if it begins so
		want string // keys, in order
	}{
		{"", ""},
		{", auth: bearer, methods: [PATCH], prefix: /a/b, region: r1, limits: {idle_timeout: 0s}", ""},
		{", target: other", ""}, // given twice: see the parser
		{", auth: {header: host}", "auth.header"},
		{", auth: {header: Transfer-Encoding}", "auth.header"},
		{", auth: {header: x, oci: {}}", "auth"},
		{", auth: {aws: {service: s3}}", "region"},
		{", auth: {aws: {region: us-east-1}}", "auth.aws"},
		{", auth: {oci: {}}, upgrades: [websocket]", "upgrades"},
		{", upgrades: [h2c]", "upgrades[0]"},
		{", methods: [POST, CONNECT, get]", "methods[1] methods[2]"},
		{", headers: {authorization: x}", "headers.authorization"},
		{", headers: {X-Note: \"a\\r\\nb\"}", "headers.X-Note"},
		{", headers: {Cookie: a}", "headers.Cookie"},
		{", prefix: /a/../b", "prefix"},
		{", prefix: a", "prefix"},
		{", host: h.example", ""},
		{", host: h.example, prefix: /a", "host"},
		{", host: '127.0.0.1'", "host"},
		{", host: localhost", "host"},
		{", callers: {uids: [1]}", "callers"},
		{", callers: any", ""},
		{", limits: {buffer: -1}", "limits"},
		{", limits: {header_timeout: -1s}", "limits"},
		{", cookie_passthrough: {enabled: true}", "cookie_passthrough.cookie_names"},
		{", cookie_passthrough: {enabled: true, cookie_names: [a, a, 'b c']}", "cookie_passthrough.cookie_names[1] cookie_passthrough.cookie_names[2]"},
		{", cookie_passthrough: {enabled: true, cookie_names: [__Host-a, __Secure-b]}", "cookie_passthrough.cookie_names[0]"},
		{", cookie_passthrough: {enabled: true, cookie_names: [__host-a], origin: 'https://u.example'}", ""},
		{", cookie_passthrough: {enabled: true, cookie_names: [a], origin: 'https://u.example:8443'}", "cookie_passthrough.origin"},
		{", cookie_passthrough: {enabled: true, cookie_names: [a], origin: 'http://u.example'}", "cookie_passthrough.origin"},
		{", gateway: {issuer: 'http://idp.example', audience: a}", "gateway.issuer"},
		{", gateway: {issuer: 'https://idp.example'}", "gateway.audience"},
		{", gateway: {issuer: 'https://idp.example', audience: a, algorithms: [HS256, none, RS256], clock_skew: 1h}", "gateway.clock_skew gateway.algorithms[0] gateway.algorithms[1]"},
		{", gateway: {issuer: 'https://idp.example', audience: a, required_claims: {x: {}}, jwks_url: 'http://idp.example/k'}", "gateway.jwks_url gateway.required_claims.x"},
		{", gateway: {issuer: 'https://idp.example', audience: a}, callers: secret", "callers"},
	} {
		text := "listen: 127.0.0.1:0\nroutes:\n- " + fmt.Sprintf(route, one.more)
		var s proxy.Settings
		if err := yaml.UnmarshalWithOptions([]byte(text), &s, yaml.Strict()); err != nil {
			if !strings.Contains(one.more, "target:") {
				t.Errorf("%s: %v", one.more, err)
			}
			continue
		}
		check(t, one.more, s, one.want, "routes[0].")
	}
	for _, one := range []struct{ text, want string }{
		{"", ""},
		{"listen: 127.0.0.1:1", "routes"},
		{"listen: 127.0.0.1\nroutes: [{provider: openai, target: gpt}]", "listen"},
		{"listen: 0.0.0.0:1\nroutes: [{provider: openai, target: gpt}]", "listen"},
		{"listen: :1\nroutes: [{provider: openai, target: gpt}]", "listen"},
		{"listen: 0.0.0.0:1\nexpose: true\nhosts: ['a:1', 'b c']\nroutes: [{provider: openai, target: gpt}]", "hosts[1]"},
		{"listen: unix:p\nroutes: [{provider: openai, target: gpt}]", "listen"},
		{"listen: unix:/p\ncallers: {uids: [0]}\nroutes: [{provider: openai, target: gpt}]", ""},
		// A socket that others reach is not one whose every caller is the agent's user.
		{"listen: unix:/p\nroutes: [{provider: openai, target: gpt, callers: {uids: [4242]}}, {provider: anthropic, target: gpt, callers: any}]", "routes[1].callers"},
		{"listen: unix:/p\nroutes: [{provider: openai, target: gpt, callers: {uids: [4242]}}, {provider: anthropic, target: gpt}, {provider: vertex, region: global, target: gpt, callers: secret}]", ""},
		{"listen: 127.0.0.1:1\nroutes: [{provider: openai, target: gpt}, {provider: openai, target: gpt}]", "routes[1].name routes[1].prefix"},
		{"listen: 127.0.0.1:1\nroutes: [{provider: opnai, target: other}]", "routes[0].provider routes[0].upstream routes[0].target routes[0].paths"},
		{"listen: 127.0.0.1:1\nroutes: [{target: gpt, upstream: 'http://u.example', paths: [v1]}]", "routes[0].name routes[0].upstream routes[0].paths[0]"},
		{"listen: 127.0.0.1:1\nroutes: [{provider: mcp, target: gpt, upstream: 'https://user@u.example/x?y'}]", "routes[0].upstream"},
		{"listen: 127.0.0.1:1\nroutes: [{provider: mcp, target: gpt, upstream: 'https://u.example/a/../b'}]", "routes[0].upstream"},
		{"listen: 127.0.0.1:1\nroutes: [{provider: bedrock, target: gpt}]", "routes[0].region"},
		{"listen: 127.0.0.1:1\nroutes: [{provider: bedrock, target: gpt, region: 'evil.example/'}]", "routes[0].region"},
		{"listen: 127.0.0.1:1\nroutes: [{provider: mcp, target: gpt, upstream: 'http://127.0.0.1:1/mcp', cookie_passthrough: {enabled: true, cookie_names: [__Secure-a]}}]", "routes[0].cookie_passthrough.cookie_names[0]"},
	} {
		check(t, one.text, read(t, one.text), one.want, "")
	}
	for _, text := range []string{"routes: [{callers: some}]", "routes: [{callers: {uids: []}}]", "routes: [{callers: {secret: 1}}]", "routes: [{auth: basic}]", "routes: [{auth: {bearer: {}}}]", "routes: [{nonsense: 1}]"} {
		var s proxy.Settings
		if yaml.UnmarshalWithOptions([]byte(text), &s, yaml.Strict()) == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// Each preset is a route of two keys, with a region or an upstream where it needs one.
func TestPresets(t *testing.T) {
	for _, name := range proxy.Providers() {
		for _, more := range []string{", region: us-east-1", ", upstream: 'https://u.example/x'"} {
			if name == "bedrock" && !strings.Contains(more, "region") || (name == "mcp" || name == "azure-openai") && strings.Contains(more, "region") {
				continue
			}
			check(t, name, read(t, "listen: 127.0.0.1:1\nroutes: [{provider: "+name+", target: gpt"+more+"}]"), "", "")
		}
	}
}

func check(t *testing.T, what string, s proxy.Settings, want, at string) {
	t.Helper()
	var keys []string
	for _, err := range s.Check([]string{"gpt"}) {
		key, _, _ := strings.Cut(err.Error(), ": ")
		keys = append(keys, strings.TrimPrefix(key, at))
	}
	if !slices.Equal(keys, strings.Fields(want)) {
		t.Errorf("%s: %q, want %q\n%v", what, keys, want, s.Check([]string{"gpt"}))
	}
}
