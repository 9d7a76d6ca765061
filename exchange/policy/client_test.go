package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
)

const someHash = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

func TestClientFaults(t *testing.T) {
	for text, want := range map[string]string{
		`a:b: {secret: {sha256: ` + someHash + `}}`: "A-Z a-z 0-9",
		`c: {}`: "proves itself in one way",
		`c: {secret: {sha256: ` + someHash + `}, trust: {trust: prod, namespace: x}}`:             "proves itself in one way",
		`c: {secret: {sha256: hunter2}}`:                                                          "64 hexadecimal digits",
		`c: {secret: {sha256: ` + strings.ToUpper(someHash) + `}}`:                                "64 hexadecimal digits",
		`c: {secret: {sha256: [a, b, c]}}`:                                                        "or two",
		`c: {secret: {}}`:                                                                         "sha256 is wanted",
		`c: {secret: {plain: x}}`:                                                                 `unknown key "plain"`,
		`c: {secret: {sha256: "${secret:legacy}"}}`:                                               "only in a target's settings",
		`c: {private_key_jwt: {keys: {}}}`:                                                        "public keys are",
		`c: {private_key_jwt: {keys: {url: "http://keys.example"}}}`:                              "https URL",
		`c: {private_key_jwt: {keys: {file: k, url: "https://k.example"}}}`:                       "public keys are",
		`c: {private_key_jwt: {keys: {file: k}, algorithms: [HS256]}}`:                            `unknown algorithm "HS256"`,
		`c: {trust: {trust: prod}}`:                                                               "names one trust and who",
		`c: {trust: {trust: "*", namespace: ci}}`:                                                 "names one trust and who",
		`c: {trust: {namespace: ci}}`:                                                             "names one trust and who",
		`c: {trust: {trust: prof, namespace: ci}}`:                                                `no trust "prof"`,
		`c: {trust: {trust: prod, groups: x}}`:                                                    `attribute "groups"`,
		`c: {secret: {sha256: ` + someHash + `}, grants: []}`:                                     "without any grant",
		`c: {secret: {sha256: ` + someHash + `}, grants: [password]}`:                             `unknown grant "password"`,
		`c: {secret: {sha256: ` + someHash + `}, default_resource: "https://mcp.example/githup"}`: `did you mean "https://mcp.example/github"`,
		`c: {secret: {sha256: ` + someHash + `}, defualt_resource: "https://mcp.example/github"}`: `unknown key "defualt_resource"`,
		`"https://app.example/client.json": {secret: {sha256: ` + someHash + `}}`:                 "{metadata: {}}",
		`c: {metadata: {}}`:                                                                       "only a client whose name is the https URL",
		`"https://app.example/c.json": {metadata: {}, secret: {sha256: ` + someHash + `}}`:        "proves itself in one way",
		`"https://app.example/c.json": {metadata: {algorithms: [none]}}`:                          `unknown algorithm "none"`,
		`"https://app.example/c.json": {metadata: {url: "https://other.example"}}`:                `unknown key "url"`,
		`"http://app.example/c.json": {metadata: {}}`:                                             "or is the https URL",
		`"https://app.example": {metadata: {}}`:                                                   "has a path",
		`"https://app.example/": {metadata: {}}`:                                                  "has a path",
		`"https://app.example/a/../c.json": {metadata: {}}`:                                       "without . and ..",
		`"https://app.example/c.json?x=1": {metadata: {}}`:                                        "no user, query or fragment",
		`"https://app.example/c.json#x": {metadata: {}}`:                                          "no user, query or fragment",
		`"https://me@app.example/c.json": {metadata: {}}`:                                         "no user, query or fragment",
		`"https://App.example/c.json": {metadata: {}}`:                                            "in lower case",
		`"https://app.example/c*.json": {metadata: {}}`:                                           "written in one way",
		`login.example: {secret: {sha256: ` + someHash + `}}`:                                     "named like the issuer",
	} {
		trusts := "\ntrusts: {bare: {oidc: {issuer: login.example, audiences: [cambio], keys: {file: k}}}}\n"
		quoted := text
		if strings.HasPrefix(text, "a:b") {
			quoted = `"a:b"` + strings.TrimPrefix(text, "a:b")
		}
		faults := loadFaults(t, "a.yaml", house, "b.yaml", "clients:\n  "+quoted+trusts)
		found := false
		for _, f := range faults {
			found = found || strings.Contains(f.Message, want) && f.File == "b.yaml" && f.Line == 2 && f.Column > 0
		}
		if !found {
			t.Errorf("%s:\nwant %s, got\n%v", text, want, faults)
		}
	}
	faults := loadFaults(t, "a.yaml", house+`allow: [{name: a, subjects: [{trust: prod}], clients: [dest, "d*"], targets: [wiki]}]`)
	if len(faults) != 1 || !strings.Contains(faults[0].Message, `there is no client "dest": did you mean "desk"?`) {
		t.Error(faults)
	}
}

// A client may be named by the URL of its metadata document, and is a client like any
// other then.
func TestClientByURL(t *testing.T) {
	const app = "https://app.example/client.json"
	r := load(t, "a.yaml", house, "b.yaml", `clients:
  "`+app+`": {metadata: {algorithms: [ES256]}}
allow:
  - {name: app, subjects: [{trust: prod}], clients: ["`+app+`"], targets: [wiki]}
`)
	c, ok := r.Client(app)
	if !ok || c.Keys != (exchange.KeySource{Document: app}) || len(c.Algorithms) != 1 || c.Token || len(c.Secrets) > 0 {
		t.Fatalf("%+v", c)
	}
	if d := r.Decide(ask(t, r, "k8s:prod:a:x", "wiki", through(t, r, app))); !d.Allowed {
		t.Error(d.Explanation)
	}
	if d := r.Decide(ask(t, r, "k8s:prod:a:x", "wiki", through(t, r, "desk"))); d.Allowed {
		t.Error("another client is this one")
	}
}

// An allow or a deny that names clients is for those alone, and for nobody who is
// none; one that names none asks nothing. Decide and Explain agree.
func TestRulesNameClients(t *testing.T) {
	for _, c := range []struct {
		rules, client string
		want          bool
	}{
		{`allow: [{name: a, subjects: [{trust: prod}], targets: [wiki]}]`, "", true},
		{`allow: [{name: a, subjects: [{trust: prod}], targets: [wiki]}]`, "desk", true},
		{`allow: [{name: a, subjects: [{trust: prod}], clients: [desk], targets: [wiki]}]`, "desk", true},
		{`allow: [{name: a, subjects: [{trust: prod}], clients: [desk], targets: [wiki]}]`, "till", false},
		{`allow: [{name: a, subjects: [{trust: prod}], clients: [desk], targets: [wiki]}]`, "", false},
		{`allow: [{name: a, subjects: [{trust: prod}], clients: ["*"], targets: [wiki]}]`, "", false},
		{`allow: [{name: a, subjects: [{trust: prod}], clients: ["*"], targets: [wiki]}]`, "till", true},
		{`{allow: [{name: a, subjects: [{trust: prod}], targets: [wiki]}], deny: [{name: d, clients: ["t*"]}]}`, "till", false},
		{`{allow: [{name: a, subjects: [{trust: prod}], targets: [wiki]}], deny: [{name: d, clients: ["t*"]}]}`, "desk", true},
		{`{allow: [{name: a, subjects: [{trust: prod}], targets: [wiki]}], deny: [{name: d, clients: ["t*"]}]}`, "", true},
	} {
		r := load(t, "a.yaml", house, "b.yaml", c.rules)
		q := ask(t, r, gateway, "wiki", through(t, r, c.client))
		if d, e := r.Decide(q), r.Explain(q); d.Allowed != c.want || e.Allowed != c.want {
			t.Errorf("%s by %q: %+v, explained %+v", c.rules, c.client, d, e.Reasons)
		}
	}
}

// A client is its own subject, and of no trust: no rule about trusts is about it.
func TestS3ClientItselfIsASubject(t *testing.T) {
	r := load(t, "a.yaml", house+`allow:
- {name: tokens, subjects: [{trust: "*"}], targets: [github]}
- {name: desk, subjects: [{subject: "client:desk"}], targets: [wiki]}
`)
	q := ask(t, r, "client:desk", "wiki", through(t, r, ""))
	if d := r.Decide(q); !d.Allowed || d.Rule != "desk" || q.Client != "desk" {
		t.Errorf("%+v", d)
	}
	if d := r.Decide(ask(t, r, "client:desk", "github", through(t, r, ""))); d.Allowed {
		t.Error("a client is of no trust")
	}
	if err := policy.DescribeClient(r, &q, "till"); err == nil {
		t.Error("the client itself asks through another")
	}
	q.Client = "till"
	if d := r.Decide(q); d.Allowed {
		t.Error("a client spoke for another")
	}
	for _, name := range []string{"client:dest", "client:till", "client:a:b"} {
		if _, err := policy.Describe(r, name, nil); err == nil {
			t.Errorf("%s is a subject", name)
		}
	}
}

// A client that was proven under another policy decides nothing under this one.
func TestS21ChangedClientIsAskedAgain(t *testing.T) {
	const rules = "allow: [{name: a, subjects: [{subject: \"*\"}], targets: [wiki]}]\n"
	before := load(t, "a.yaml", house+rules)
	after := load(t, "a.yaml", strings.Replace(house, someHash[:4], "0000", 1)+rules)
	gone := load(t, "a.yaml", strings.Replace(house, "desk:", "disk:", 1)+rules)
	for _, subject := range []string{"client:desk", gateway} {
		q := ask(t, before, subject, "wiki", through(t, before, "desk"))
		if d := before.Decide(q); !d.Allowed {
			t.Errorf("%+v", d)
		}
		for _, r := range []*policy.Revision{after, gone} {
			if d := r.Decide(q); d.Allowed || d.Refusal != exchange.KindUnavailable {
				t.Errorf("%s: %+v", subject, d)
			}
		}
	}
}

// ClientsOf goes by trust and attributes, and by the trust as it is now.
func TestClientsOfAToken(t *testing.T) {
	r := load(t, "a.yaml", house)
	names := func(s exchange.Subject) string {
		var all []string
		for _, c := range r.ClientsOf(s) {
			all = append(all, c.Name)
		}
		return strings.Join(all, " ")
	}
	till := ask(t, r, "k8s:prod:shop:till", "wiki").Subject
	if got := names(till); got != "till" {
		t.Error(got)
	}
	if got := names(ask(t, r, "k8s:prod:shop:other", "wiki").Subject); got != "" {
		t.Error(got)
	}
	till.TrustHash[0] ^= 1
	if got := names(till); got != "" {
		t.Error("a trust that has changed:", got)
	}
	c, ok := r.Client("desk")
	if s := c.Subject(noon); !ok || s.Name != "client:desk" || s.Expires.Sub(noon) != 12*time.Hour || len(c.Grants) != 3 || len(r.Clients()) != 2 {
		t.Errorf("%+v", c)
	}
}

func TestCasesNameClients(t *testing.T) {
	r := load(t, "a.yaml", house+`allow: [{name: a, subjects: [{trust: prod}, {subject: "client:desk"}], clients: [desk], targets: [wiki]}]`)
	results, err := policy.RunTests(files("a_test.yaml", `
cases:
  - {name: through, subject: "k8s:prod:llm:gateway", client: desk, target: wiki, allowed: a}
  - {name: without, subject: "k8s:prod:llm:gateway", target: wiki, denied: true}
  - {name: itself, subject: "client:desk", target: wiki, allowed: a}
`), r)
	if err != nil || len(results) != 3 {
		t.Fatal(results, err)
	}
	for _, c := range results {
		if !c.Passed {
			t.Error(c)
		}
	}
	_, err = policy.RunTests(files("a_test.yaml", "cases: [{subject: 'k8s:prod:llm:gateway', client: dest, target: wiki, denied: true}]"), r)
	if err == nil || !strings.Contains(err.Error(), `there is no client "dest": did you mean "desk"?`) {
		t.Error(err)
	}
}
