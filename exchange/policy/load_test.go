package policy_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
)

func TestLoadExample(t *testing.T) {
	r := load(t, "a.yaml", house, "b.yaml", `
allow:
  - name: gateway-uses-models
    subjects: [{trust: prod, namespace: llm, service_account: gateway}]
    targets: [rock, sand]
    max_ttl: 1h
  - name: agents-act-for-people
    subjects: [{trust: corp, groups: [engineering]}]
    actors:   [{trust: prod, namespace: agents, service_account: "*"}]
    targets: [github]
    scopes: [read]
    when: cidr("10.0.0.0/8").containsIP(request.client_ip) && now.getHours("UTC") < 20
deny:
  - {name: no-preview, subjects: [{trust: prod, namespace: "preview-*"}], targets: ["*"]}
roles:
  auditor:  [{trust: corp, groups: [security]}]
`, "b_test.yaml", "not: [even, valid", "notes.txt", "nothing")
	if len(r.Hash()) != 64 || r.Tenant() != "default" {
		t.Errorf("hash %q, tenant %q", r.Hash(), r.Tenant())
	}
	trusts := r.Trusts()
	if len(trusts) != 3 || trusts[0].Name != "corp" || trusts[0].Claims["groups"] != "$.realm_access.roles" || trusts[0].ClientlessAZP[0] != "cli" {
		t.Errorf("trusts: %+v", trusts)
	}
	if trusts[0].Hash == trusts[1].Hash || trusts[0].Hash == [32]byte{} {
		t.Error("trusts are told apart by their hashes")
	}
	d := r.Decide(ask(t, r, alice, "github", with("groups", "engineering"), by(t, r, agent)))
	if !d.Allowed || d.Rule != "agents-act-for-people" || len(d.Scopes) != 1 || d.Scopes[0] != "read" || d.Lifetime != 15*time.Minute {
		t.Errorf("decision: %+v", d)
	}
	if d := r.Decide(ask(t, r, "k8s:prod:preview-7:gateway", "rock")); d.Allowed || d.Rule != "no-preview" {
		t.Errorf("decision: %+v", d)
	}
}

var faultCases = []struct {
	name, text string
	line       int
	message    string // a part of it
}{
	{"top key", "trust: {}\n", 1, `unknown key "trust": did you mean "trusts"?`},
	{"rule key", house + "allow:\n- name: x\n  subject: [{trust: prod}]\n  targets: [rock]\n", 14, `unknown key "subject": did you mean "subjects"?`},
	{"setting", house + "  bad: {paper: {resorce: https://a.example}}\n", 12, `unknown key "resorce": did you mean "resource"?`},
	{"nested setting", house + "  bad:\n    paper:\n      resource: https://a.example\n      nested:\n        loud: yes\n", 16, "true or false"},
	{"provider", house + "  bad: {papr: {}}\n", 12, `unknown provider "papr": did you mean "paper"?`},
	{"two providers", house + "  bad: {paper: {}, stone: {}}\n", 12, "one provider"},
	{"settings refused", house + "  bad: {paper: {resource: https://a.example, nested: {depth: -1}}}\n", 12, "nested.depth"},
	{"trust kind", "trusts: {a: {kubernets: {}}}", 1, `did you mean "kubernetes"?`},
	{"two kinds", "trusts: {a: {oidc: {issuer: https://a.example, audiences: [c]}, spiffe: {trust_domain: d, audiences: [c]}}}", 1, "of one kind"},
	{"no kind", "trusts: {a: {}}", 1, "of one kind"},
	{"no issuer", "trusts: {a: {oidc: {audiences: [c]}}}", 1, "issuer is wanted"},
	{"plain http", "trusts: {a: {oidc: {issuer: http://a.example, audiences: [c]}}}", 1, "https issuer"},
	{"no audience", "trusts: {a: {oidc: {issuer: https://a.example}}}", 1, "audiences is wanted"},
	{"keys twice", "trusts: {a: {oidc: {issuer: https://a.example, audiences: [c], keys: {url: https://k.example, file: k}}}}", 1, "not from both"},
	{"clientless word", "trusts: {a: {oidc: {issuer: https://a.example, audiences: [c], clientless: sure}}}", 1, "clientless is true"},
	{"clientless empty", "trusts: {a: {oidc: {issuer: https://a.example, audiences: [c], clientless: {azp: []}}}}", 1, "by name"},
	{"clientless azp of a cluster", "trusts: {a: {kubernetes: {issuer: https://a.example, audiences: [c], clientless: {azp: [x]}}}}", 1, "only tokens of people"},
	{"review mode", "trusts: {a: {kubernetes: {issuer: https://a.example, audiences: [c], review: {mode: often}}}}", 1, "never, cached or always"},
	{"record unknown", "trusts: {a: {oidc: {issuer: https://a.example, audiences: [c], record: [emial]}}}", 1, `did you mean "email"?`},
	{"claim name", "trusts: {a: {oidc: {issuer: https://a.example, audiences: [c], claims: {trust: $.x}}}}", 1, "cannot be mapped"},
	{"trust name", "trusts: {\"a:b\": {oidc: {issuer: https://a.example, audiences: [c]}}}", 1, "a-z 0-9"},
	{"target name", house + "  \"a:b\": {stone: {place: x}}\n", 12, "a-z 0-9"},
	{"duration", "trusts: {a: {oidc: {issuer: https://a.example, audiences: [c], leeway: 30}}}", 1, "such as 30s"},
	{"number for text", house + "allow:\n- {name: x, subjects: [{trust: prod, namespace: 0123}], targets: [rock]}\n", 13, "in quotes"},
	{"resource twice", house + "  again: {paper: {resource: https://mcp.example/wiki}}\n", 12, `target "wiki" has this resource`},
	{"fragment", house + "  bad: {paper: {resource: \"https://mcp.example/x#y\"}}\n", 12, "without a fragment"},
	{"relative", house + "  bad: {paper: {resource: mcp}}\n", 12, "absolute URI"},
	{"unknown target", house + "allow:\n- {name: x, subjects: [{trust: prod}], targets: [rok]}\n", 13, `no target "rok": did you mean "rock"?`},
	{"unknown trust", house + "allow:\n- {name: x, subjects: [{trust: prd}], targets: [rock]}\n", 13, `no trust "prd": did you mean "prod"?`},
	{"unknown attribute", house + "allow:\n- {name: x, subjects: [{trust: prod, namspace: llm}], targets: [rock]}\n", 13, `did you mean "namespace"?`},
	{"attribute of another kind", house + "deny:\n- {name: x, subjects: [{trust: corp, namespace: llm}]}\n", 13, `attribute "namespace"`},
	{"nobody's attribute", house + "deny:\n- {name: x, subjects: [{colour: red}]}\n", 13, `attribute "colour"`},
	{"no rule name", house + "allow:\n- {subjects: [{trust: prod}], targets: [rock]}\n", 13, "has a name"},
	{"no subjects", house + "allow:\n- {name: x, targets: [rock]}\n", 13, "says for whom"},
	{"no targets", house + "allow:\n- {name: x, subjects: [{trust: prod}]}\n", 13, "which targets"},
	{"everyone by {}", house + "allow:\n- {name: x, subjects: [{}], targets: [rock]}\n", 13, "would match everyone"},
	{"empty list", house + "allow:\n- {name: x, subjects: [{trust: prod}], targets: []}\n", 13, "matches nothing"},
	{"empty actors", house + "allow:\n- {name: x, subjects: [{trust: prod}], actors: [], targets: [rock]}\n", 13, "leave actors out"},
	{"empty pattern", house + "allow:\n- {name: x, subjects: [{trust: prod, namespace: \"\"}], targets: [rock]}\n", 13, "empty pattern"},
	{"deny everything", house + "deny:\n- {name: x}\n", 13, "would deny everything"},
	{"limits of a deny", house + "deny:\n- {name: x, targets: [rock], max_ttl: 1h}\n", 13, `unknown key "max_ttl"`},
	{"max_ttl zero", house + "allow:\n- {name: x, subjects: [{trust: prod}], targets: [sand], max_ttl: 0s}\n", 13, "over zero"},
	{"max_ttl under the floor", house + "allow:\n- {name: x, subjects: [{trust: prod}], targets: [rock], max_ttl: 5m}\n", 13, "under 15m"},
	{"scope not offered", house + "allow:\n- {name: x, subjects: [{trust: prod}], targets: [wiki], scopes: [raed]}\n", 13, `did you mean "read"?`},
	{"role", house + "roles:\n  auditer: [{trust: corp}]\n", 13, `did you mean "auditor"?`},
	{"defaults", house + "defaults: {papr: {}}\n", 12, `unknown provider "papr"`},
	{"default setting", house + "defaults: {paper: {formt: x}}\n", 12, `did you mean "format"?`},
	{"missing value", "trusts:\n  a:\n    oidc:\n      issuer:\n      audiences: [c]\n", 4, "a value is missing"},
	{"not a map", "trusts: [a]\n", 1, "a map is wanted"},
	{"not a list", "allow: {name: x}\n", 1, "a list is wanted"},
	{"scalar file", "hello\n", 1, "a map is wanted"},
	{"same key", "trusts: {}\ntargets: {}\ntrusts: {}\n", 3, `stands on line 1 already`},
	{"same target", house + "  rock: {stone: {}}\n", 12, `"rock" stands on line 10 already`},
	{"syntax", "trusts: [\n", 1, "not found"},
	{"two documents", "trusts: {}\n---\ntargets: {}\n", 3, "one YAML document"},
	{"control character", "trusts: {}\n\x01: 1\n", 2, "not plain UTF-8"},
	{"not UTF-8", "trusts: {a: \xff}\n", 1, "not plain UTF-8"},
	{"anchor", "trusts: &a {}\n", 1, "anchors"},
	{"alias", "trusts: *a\n", 1, "anchors"},
	{"merge", "trusts:\n  <<: {}\n", 2, "merges"},
	{"tag", "trusts: !!map {}\n", 1, "tags"},
	{"depth", "trusts: " + strings.Repeat("[", 100_000) + "\n", 1, "too deeply"},
	{"depth of dashes", "allow:\n" + strings.Repeat("- ", 100_000) + "x\n", 2, "too deeply"},
	{"blank lines", "allow: >\n" + strings.Repeat("  \n", 100_000), 402, "too many blank lines"},
	{"blank lines of CR", "allow: >\r" + strings.Repeat("\r", 100_000), 1, "too many blank lines"},
	{"many keys", strings.Repeat("a: b\n", 100_000), 25_001, "more than 25000 keys"},
	{"depth of indents", deepMap(300), 202, "too deeply"},
}

func deepMap(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestLoadFaults(t *testing.T) {
	for _, c := range faultCases {
		t.Run(c.name, func(t *testing.T) {
			faults := loadFaults(t, "p.yaml", c.text)
			f := faults[0]
			if f.File != "p.yaml" || f.Line != c.line || !strings.Contains(f.Message, c.message) {
				t.Errorf("got %v\nwant line %d: …%s…", f, c.line, c.message)
			}
			if len(faults) > 1 {
				t.Errorf("one fault is wanted, got\n%v", faults)
			}
			if f.Column < 1 || !strings.Contains(f.Excerpt, "^") && f.Column < 160 {
				t.Errorf("column %d, excerpt:\n%s", f.Column, f.Excerpt)
			}
		})
	}
}

func TestLoadFindsAllFaults(t *testing.T) {
	faults := loadFaults(t, "a.yaml", `trusts:
  a: {oidc: {isuer: "https://a.example", audience: [c]}}
targets:
  t: {papr: {}}
  u: {paper: {resorce: x, scops: []}}
`, "b.yaml", `allow:
  - {name: x, subject: [], target: []}
deny:
  - {name: x, wen: "true"}
`, "c.yaml", "a: [")
	var got []string
	for _, f := range faults {
		got = append(got, f.Error())
	}
	all := strings.Join(got, "\n")
	for _, want := range []string{
		`a.yaml:2:14: unknown key "isuer"`, `a.yaml:2:42: unknown key "audience"`, `a.yaml:4:7: unknown provider "papr"`,
		`a.yaml:5:15: unknown key "resorce"`, `a.yaml:5:27: unknown key "scops"`, `b.yaml:2:15: unknown key "subject"`,
		`b.yaml:2:28: unknown key "target"`, `b.yaml:4:15: unknown key "wen"`, `b.yaml:4:12: rule "x" is in b.yaml:2 already`, "c.yaml:1:4: ",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is missing in\n%s", want, all)
		}
	}
	if text := faults.Error(); !strings.Contains(text, ">    2 |   a: {oidc: {isuer:") || !strings.Contains(text, "       |              ^") {
		t.Errorf("excerpt:\n%s", text)
	}
}

// TestS39AFaultShowsNoPastedSecret: who pastes a secret where its name belongs is told
// so, by a text that goes to logs.
func TestS39AFaultShowsNoPastedSecret(t *testing.T) {
	for _, line := range []string{
		`client_secret: hunter2`, `client_secret: "hunter2"`, `api_key: hunter2`, `secret_id: 'hunter2'`, `{password: hunter2, x: 1}`,
		`"api_key": hunter2`, `private_key: hunter2 and more`,
	} {
		for _, text := range []string{
			loadFaults(t, "a.yaml", house, "b.yaml", "targets:\n  x:\n    paper:\n      "+line+"\n      nonsense: 5\n").Error(),
			loadFaults(t, "a.yaml", house, "b.yaml", "targets:\n  x: {paper: {"+strings.Trim(line, "{}")+"}}\n").Error(),
		} {
			if strings.Contains(text, "hunter2") {
				t.Errorf("%s:\n%s", line, text)
			}
		}
	}
	if text := loadFaults(t, "a.yaml", house, "b.yaml", "targets:\n  x: {stone: {client_secret: \"${secret:legacy}\"}}\n").Error(); !strings.Contains(text, "${secret:legacy}") {
		t.Errorf("a reference is no secret:\n%s", text)
	}
}

func TestLoadNamesBothPlaces(t *testing.T) {
	f := loadFaults(t, "a.yaml", house, "b.yaml", "targets:\n  rock: {stone: {}}\n")[0]
	if f.File != "b.yaml" || f.Line != 2 || !strings.Contains(f.Message, "a.yaml:10:3") {
		t.Error(f)
	}
}

func TestLoadReportsAtMostSoMany(t *testing.T) {
	faults := loadFaults(t, "a.yaml", "allow:\n"+strings.Repeat("- {name: x}\n", 2000))
	if len(faults) != 501 || !strings.HasSuffix(faults[500].Message, "more faults") {
		t.Errorf("%d faults, the last: %v", len(faults), faults[len(faults)-1])
	}
}

func TestLoadFolder(t *testing.T) {
	if f := loadFaults(t)[0]; !strings.Contains(f.Message, "no *.yaml file") {
		t.Error(f)
	}
	if f := loadFaults(t, "a_test.yaml", "cases: []")[0]; !strings.Contains(f.Message, "no *.yaml file") {
		t.Error(f)
	}
	if f := loadFaults(t, "a.yaml", strings.Repeat("# hello\n", 600_000))[0]; f.File != "a.yaml" || !strings.Contains(f.Message, "split it") {
		t.Error(f)
	}
	if _, err := policy.Load(unreadable{}, policy.Options{Providers: shelf{}}); err == nil || err.Error() != "a.yaml: the file cannot be opened: permission denied" {
		t.Errorf("unreadable file: %v", err)
	}
	if _, err := policy.Load(fstest.MapFS{}, policy.Options{Providers: shelf{}}); err == nil {
		t.Error("an empty folder is a fault")
	}
	load(t, "empty.yaml", "", "comment.yml", "# nothing yet\n", "null.yaml", "trusts:\nallow:\n")
}

type unreadable struct{ fstest.MapFS }

func (unreadable) ReadDir(string) ([]fs.DirEntry, error) {
	return files("a.yaml", "").ReadDir(".")
}

func (unreadable) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

func TestRevisionHash(t *testing.T) {
	a := load(t, "a.yaml", house)
	if load(t, "a.yaml", house, "a_test.yaml", "cases: []").Hash() != a.Hash() {
		t.Error("tests are no part of the revision")
	}
	for name, other := range map[string]*policy.Revision{
		"a comment":  load(t, "a.yaml", house+"# x\n"),
		"a name":     load(t, "b.yaml", house),
		"a new file": load(t, "a.yaml", house, "b.yaml", ""),
	} {
		if other.Hash() == a.Hash() {
			t.Errorf("%s changes the hash", name)
		}
	}
}

func TestDefaults(t *testing.T) {
	r := load(t, "a.yaml", `
defaults:
  paper: {resource: "https://d.example", scopes: [a, b], format: thin, nested: {depth: 3}}
targets:
  one: {paper: {scopes: [c]}}
`, "b.yaml", `
targets:
  two: {paper: {resource: "https://e.example", nested: {loud: true}}}
`)
	one, two := r.Target("one"), r.Target("two")
	if one.Resource != "https://d.example" || len(one.Scopes) != 1 || one.Scopes[0] != "c" {
		t.Errorf("one: %+v", one.Facts)
	}
	if two.Resource != "https://e.example" || len(two.Scopes) != 2 {
		t.Errorf("two: %+v", two.Facts)
	}
	other := load(t, "a.yaml", `
defaults:
  paper: {resource: "https://d.example", scopes: [a, b], format: thick, nested: {depth: 3}}
targets:
  one: {paper: {scopes: [c]}}
`)
	if one.Hash == other.Target("one").Hash {
		t.Error("a default that changes a target changes its hash")
	}
	// A map is replaced, not merged: what stands at the target is what counts.
	if settings := two.Settings.(*paper); settings.Nested.Depth != 0 || !settings.Nested.Loud {
		t.Errorf("two: %+v", settings)
	}
}

// TestCheckTrusts: faults that only the verifier finds are placed at the field that
// they name.
func TestCheckTrusts(t *testing.T) {
	check := func(trusts []exchange.Trust) []error {
		var faults []error
		for _, tr := range trusts {
			if tr.Issuer == "https://ours.example" {
				faults = append(faults, &exchange.Error{Kind: exchange.KindMisconfigured, Advice: `trust "mine": issuer: it is Cambio itself`})
			}
		}
		return faults
	}
	_, err := policy.Load(files("a.yaml", "trusts:\n  mine: {oidc: {issuer: https://ours.example, audiences: [c]}}\n"), policy.Options{Providers: shelf{}, CheckTrusts: check})
	if err == nil || !strings.HasPrefix(err.Error(), `a.yaml:2:25: `) || !strings.Contains(err.Error(), "Cambio itself") {
		t.Error(err)
	}
}

func TestS8NoTrustTakesACloudsAudience(t *testing.T) {
	for _, audience := range []string{
		"sts.amazonaws.com", "STS.amazonaws.com", "sts.amazonaws.com.cn", "sts.eu-west-1.amazonaws.com", "pods.eks.amazonaws.com",
		"api://AzureADTokenExchange", "api://AzureADTokenExchangeUSGov",
		"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x", "https://iam.googleapis.com/projects/1",
		"https://sts.googleapis.com", "https://idcs-1.identity.oraclecloud.com/", "https://iam.cloud.ibm.com/identity/token",
		"https://api.anthropic.com", "https://api.openai.com/v1",
	} {
		f := loadFaults(t, "a.yaml", "trusts: {a: {oidc: {issuer: https://a.example, audiences: [cambio, \""+audience+"\"]}}}")[0]
		if !strings.Contains(f.Message, "a cloud's own") {
			t.Errorf("%s: %v", audience, f)
		}
	}
}

func TestS20OnlyListedSecretsAsWholeValues(t *testing.T) {
	target := func(value string) string {
		return "targets: {a: {paper: {resource: https://a.example, secret: \"" + value + "\"}}}"
	}
	r := load(t, "a.yaml", target("${secret:legacy}"))
	if got := r.Target("a").Settings.(*paper).Secret; got != "${secret:legacy}" {
		t.Errorf("the reference itself is handed on, not %q", got)
	}
	if name, ok := policy.SecretName("${secret:legacy}"); !ok || name != "legacy" {
		t.Error("SecretName")
	}
	for value, want := range map[string]string{
		"${secret:seal}":              `lists no secret "seal"`,
		"${secret:legcy}":             `did you mean "legacy"?`,
		"x${secret:legacy}":           "whole value",
		"${secret:legacy}x":           "whole value",
		"${secret:legacy}${secret:b}": "whole value",
		"${env:HOME}":                 "whole value",
		"${secret:}":                  "whole value",
		"${secret:leg acy}":           "whole value",
	} {
		if f := loadFaults(t, "a.yaml", target(value))[0]; !strings.Contains(f.Message, want) {
			t.Errorf("%s: %v", value, f)
		}
	}
	for name, text := range map[string]string{
		"trust":   "trusts: {a: {oidc: {issuer: https://a.example, audiences: [\"${secret:legacy}\"]}}}",
		"rule":    house + "deny: [{name: x, targets: [\"${secret:legacy}\"]}]",
		"role":    house + "roles: {auditor: [{subject: \"${secret:legacy}\"}]}",
		"default": "defaults: {paper: {secret: \"${secret:other}\"}}",
	} {
		if f := loadFaults(t, "a.yaml", text)[0]; !strings.Contains(f.Message, "${") && !strings.Contains(f.Message, "no secret") {
			t.Errorf("%s: %v", name, f)
		}
	}
}
