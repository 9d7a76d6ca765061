package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/config"
)

// env is an environment of these variables alone.
func env(pairs ...string) config.Environment {
	values := map[string]string{}
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		values[name] = value
	}
	return func(name string) string { return values[name] }
}

const whole = `url: https://cambio.example
ca_file: /etc/cambio/ca.pem
identity: {file: /var/run/secrets/cambio/token}
client: {id: agent, secret_file: /run/secrets/client}
ops: {listen: 127.0.0.1:9909}
targets:
  bedrock: {lifetime: 15m, reason: nightly}
  gpt: {resource: https://api.openai.com, scopes: [chat]}
doors:
  secret_file: /run/cambio/secret
  aws: {target: bedrock}
files:
  - {path: /run/cambio/gpt, target: gpt}
proxy:
  listen: 127.0.0.1:9902
  routes:
    - {provider: openai, target: gpt}
`

func TestWholeFile(t *testing.T) {
	c, err := config.Parse("a.yaml", []byte(whole), env(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.URL != "https://cambio.example" || c.Identity.File == "" || c.Client.ID != "agent" || c.Targets["bedrock"].Reason != "nightly" ||
		c.Doors.AWS.Target != "bedrock" || c.Files[0].Target != "gpt" || c.Proxy.Routes[0].Provider != "openai" {
		t.Errorf("%+v", c)
	}
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		env  []string
		want []string // one for each fault, in order
	}{
		"nothing":         {"", nil, []string{"a.yaml: url: give the server's URL, or set CAMBIO_URL"}},
		"misspelt":        {"ulr: x\ndoors: {awz: {}}", nil, []string{"a.yaml:1:1: ulr: no such key; did you mean url?", "a.yaml:2:9: doors.awz: no such key; did you mean aws?"}},
		"http":            {"url: http://cambio.example", nil, []string{"a.yaml:1:1: url: secrets go over https"}},
		"url with user":   {"url: https://a:b@c.example", nil, []string{"1:1: url: a URL has no user"}},
		"two identities":  {"url: https://c.example\nidentity: {file: x, environment: Y}", nil, []string{"2:21: identity.environment: only one identity can be given, and there are file and environment"}},
		"secret as name":  {"url: https://c.example\nidentity: {environment: A=b}", nil, []string{"2:12: identity.environment: write the name of a variable"}},
		"oidc":            {"url: https://c.example\nidentity: {oidc: {token_url: http://idp.example}}", nil, []string{"identity.oidc.client_id", "identity.oidc.client_secret_file", "2:19: identity.oidc.token_url: secrets go over https"}},
		"spiffe":          {"url: https://c.example\nidentity: {spiffe: {socket: unix:///s}}", nil, []string{"2:12: identity.spiffe.audience: say which audience"}},
		"half a client":   {"url: https://c.example\nclient: {id: x}", nil, []string{"2:1: client.secret_file: give the file"}},
		"ops for all":     {"url: https://c.example\nops: {listen: \":9909\"}", nil, []string{"2:7: ops.listen: \":9909\" is not an address of this machine alone"}},
		"ops elsewhere":   {"url: https://c.example\nops: {listen: 10.0.0.1:1}", nil, []string{"ops.listen"}},
		"both names":      {"url: https://c.example\ntargets:\n  a: {audience: x, resource: https://y}", nil, []string{"3:20: targets.a.resource: give audience or resource, not both"}},
		"lifetime":        {"url: https://c.example\ntargets:\n  a: {lifetime: 1500ms}\n  b c: {}", nil, []string{"3:7: targets.a.lifetime: it is in whole seconds", "4:3: targets.b c: a name of a target has no blank"}},
		"scopes":          {"url: https://c.example\ntargets:\n  a: {scopes: [x, \"y z\"]}", nil, []string{"3:19: targets.a.scopes[1]: a scope has no blank"}},
		"reason":          {"url: https://c.example\ntargets:\n  a: {reason: \"x\\ny\"}", nil, []string{"3:7: targets.a.reason: it is one line"}},
		"no such target":  {"url: https://c.example\ndoors: {aws: {target: x}}\nfiles:\n- {path: /p, target: y}\nproxy:\n  listen: 127.0.0.1:1\n  routes:\n  - {provider: openai, target: z}", nil, []string{"2:15: doors.aws.target: no target is called \"x\"", "4:14: files[0].target: ", "8:24: proxy.routes[0].target: "}},
		"door elsewhere":  {"url: https://c.example\ntargets: {x: {}}\ndoors: {listen: 0.0.0.0:1, aws: {target: x}}", nil, []string{"3:9: doors.listen: "}},
		"no file, no env": {"", nil, []string{"url"}},
		"bad variable":    {"targets: {x: {}}", []string{"CAMBIO_URL=http://c.example", "CAMBIO_OPS_LISTEN=:1"}, []string{"a.yaml: ops.listen", "a.yaml: url"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("a.yaml", []byte(test.file), env(test.env...), nil)
			if err == nil {
				t.Fatal("no fault")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(test.want) {
				t.Fatalf("%d faults, want %d:\n%v", len(lines), len(test.want), err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in\n%v", want, err)
				}
			}
		})
	}
}

func TestEnvironmentAlone(t *testing.T) {
	c, err := config.Read("", env(
		"CAMBIO_URL=https://c.example", "CAMBIO_TARGET=gpt, other", "CAMBIO_TOKEN_OUTPUT_FILE=/run/t/gpt", "CAMBIO_DIR=/run/t",
		"CAMBIO_AWS_TARGET=bedrock", "CAMBIO_AZURE_TARGET=azure", "CAMBIO_GCP_TARGET=vertex", "CAMBIO_GCP_PROJECT=p", "CAMBIO_OCI_TARGET=genai",
		"CAMBIO_IBM_TARGET=watsonx", "CAMBIO_VAULT_TARGETS=db,kv", "CAMBIO_PROXY_PRESET=openai", "CAMBIO_CLIENT_ID=i", "CAMBIO_CLIENT_SECRET_FILE=/s",
	), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Targets) != 9 {
		t.Errorf("targets %v", c.Targets)
	}
	d := c.Doors
	if d.AWS.Target != "bedrock" || d.Azure.Target != "azure" || d.GCE.Target != "vertex" || d.GCE.Project != "p" || len(d.GCE.UIDs) != 1 ||
		d.OCI.Files.Target != "genai" || d.OCI.Files.Dir != "/run/t/oci" || d.IBM.Service != "WATSONX" || len(d.Vault.Targets) != 2 || d.SecretFile != "/run/t/secret" {
		t.Errorf("doors %+v", d)
	}
	if len(c.Files) != 1 || c.Files[0].Path != "/run/t/gpt" || c.Files[0].Target != "gpt" {
		t.Errorf("files %+v", c.Files)
	}
	if r := c.Proxy.Routes; len(r) != 1 || r[0].Provider != "openai" || r[0].Target != "gpt" || c.Proxy.Listen != config.DefaultProxy || c.Proxy.SecretFile != "/run/t/proxy-secret" {
		t.Errorf("proxy %+v", c.Proxy)
	}
	if c.Client.ID != "i" || c.Client.SecretFile != "/s" || c.Ops.Listen != config.DefaultOps {
		t.Errorf("%+v %+v", c.Client, c.Ops)
	}
}

// TestFileBeforeEnvironment: what the file says stands, and what it leaves out is filled.
func TestFileBeforeEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(path, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Read(path, env("CAMBIO_URL=https://other.example", "CAMBIO_AWS_TARGET=other", "CAMBIO_AZURE_TARGET=azure",
		"CAMBIO_CLIENT_ID=other", "CAMBIO_TOKEN_OUTPUT_FILE=/other", "CAMBIO_PROXY_PRESET=anthropic", "CAMBIO_OPS_LISTEN=off"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.URL != "https://cambio.example" || c.Doors.AWS.Target != "bedrock" || c.Doors.Azure.Target != "azure" || c.Client.ID != "agent" ||
		c.Files[0].Path != "/run/cambio/gpt" || len(c.Proxy.Routes) != 1 || c.Proxy.Routes[0].Provider != "openai" || c.Ops.Listen != "127.0.0.1:9909" {
		t.Errorf("%+v", c)
	}
}

func TestUnreadableFiles(t *testing.T) {
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "absent"): "cannot be read: no such file",
		t.TempDir():                          "cannot be read: is it a file?",
	} {
		if _, err := config.Read(path, env(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

// TestVariablesAreThoseOfTheManual: each that is asked for is listed, and the list has no
// other.
func TestVariablesAreThoseOfTheManual(t *testing.T) {
	asked := map[string]bool{"CAMBIO_TOKEN_FILE": true, "CAMBIO_TOKEN": true} // of package caller
	_, _ = config.Parse("", nil, func(name string) string {
		asked[name] = true
		if strings.HasSuffix(name, "_TARGET") || strings.HasSuffix(name, "_PRESET") {
			return "x"
		}
		return ""
	}, nil)
	for _, v := range config.Variables {
		if !asked[v.Name] {
			t.Errorf("%s is listed, and nobody asks for it", v.Name)
		}
		delete(asked, v.Name)
	}
	for name := range asked {
		if strings.HasPrefix(name, "CAMBIO_") {
			t.Errorf("%s is asked for, and not listed", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("url: https://c.example\nfiles: [{path: /p}]\nproxy: {routes: [{callers: any, auth: {aws: {}}}]}"))
	f.Add([]byte("doors: {vault: {paths: {a: b}}, gce: {uids: [1]}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse("a.yaml", text, env(), nil)
		if (c == nil) == (err == nil) {
			t.Errorf("configuration %v and error %v", c, err)
		}
	})
}
