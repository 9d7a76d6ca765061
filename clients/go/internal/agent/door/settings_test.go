package door_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
)

const whole = `
listen: 127.0.0.1:9901
secret_file: /run/cambio/secret
aws: {target: bedrock, targets: [sagemaker]}
azure: {targets: {"https://cognitiveservices.azure.com": azure-openai}, client_id: 11111111-0000-4000-8000-000000000000}
gce: {target: vertex, project: p, uids: [1000], identities: {"https://run.example": run-id}}
oci:
  files: {target: oci-genai, dir: /run/oci}
  proxymux: {target: oci-genai, ca_file: /run/oci/ca.pem, region: us-ashburn-1, token_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
ibm: {target: watsonx, service: WATSONX, profile_id: Profile-1}
vault: {targets: [db], paths: {database/creds/app: db}}
`

func settings(t *testing.T, text string) door.Settings {
	t.Helper()
	var s door.Settings
	if err := yaml.UnmarshalWithOptions([]byte(text), &s, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		yaml string
		want []string
	}{
		"whole":               {whole, nil},
		"none":                {`{}`, nil},
		"every address":       {`{listen: "0.0.0.0:9901"}`, []string{"listen: 0.0.0.0 is not this machine's alone"}},
		"any address of IPv6": {`{listen: "[::]:9901"}`, []string{"listen: :: is not this machine's alone"}},
		"the network's":       {`{listen: "192.168.1.5:9901"}`, []string{"listen: 192.168.1.5 is not"}},
		"metadata's network":  {`{listen: "169.254.1.1:80"}`, []string{"listen: 169.254.1.1 is not"}},
		"a name":              {`{listen: "localhost:9901"}`, []string{"listen: write an IP address"}},
		"a port alone":        {`{listen: ":9901"}`, []string{"listen: write an IP address"}},
		"mapped":              {`{listen: "[::ffff:10.0.0.1]:9901"}`, []string{"is not this machine's alone"}},
		"of ECS":              {`{listen: "169.254.170.2:80"}`, nil},
		"of EKS":              {`{listen: "[fd00:ec2::23]:80"}`, nil},
		"of EKS, IPv4":        {`{listen: "169.254.170.23:80"}`, nil},
		"of GCE":              {`{gce: {listen: "169.254.169.254:80", target: vertex, project: p, uids: [0]}}`, nil},
		"a relative socket":   {`{listen: "unix:agent.sock"}`, []string{"listen: write unix: and an absolute path"}},
		"sockets and SDKs": {`{listen: "unix:/run/a.sock", secret_file: /s, aws: {target: bedrock}, azure: {target: azure-openai}, ibm: {target: watsonx, service: X}, gce: {target: vertex, project: p, uids: [1]}, vault: {targets: [db]}}`,
			[]string{"aws: its SDKs cannot", "azure: its SDKs cannot", "gce.listen: Google's SDKs cannot", "ibm: its SDKs cannot"}},
		"one file for both": {`{secret_file: /s, secret_from: /s}`, []string{"secret_file: it is that of secret_from"}},
		"relative files":    {`{secret_file: s, secret_from: f}`, []string{"secret_file: write an absolute path", "secret_from: write an absolute path"}},
		"unknown targets": {`{aws: {target: x, targets: [y]}, azure: {targets: {r: z}}, vault: {targets: [v], paths: {a/b: w}}}`,
			[]string{`aws.target: no target is called "x"`, `aws.targets[0]: no target is called "y"`, `azure.targets["r"]: no target`, `vault.paths["a/b"]: no target`, `vault.targets[0]: no target`}},
		"no targets":       {`{aws: {}, azure: {}, vault: {}}`, []string{"aws.target: name a target", "azure: give target, or targets", "vault: give targets"}},
		"azure both":       {`{azure: {target: azure-openai, targets: {r: azure-search}}}`, []string{"azure: give target, or targets"}},
		"gce for nobody":   {`{gce: {target: vertex, project: p}}`, []string{"gce.uids: list the uids"}},
		"gce without much": {`{gce: {uids: [0], scopes: ["a b", ""], service_account: "a b", project_number: "a/b"}}`, []string{"gce.project: name", "gce.project_number", "gce.scopes[0]", "gce.scopes[1]", "gce.service_account", "gce.target: name"}},
		"oci without both": {`{oci: {}}`, []string{"oci: give files, or proxymux"}},
		"oci without much": {`{oci: {files: {region: "a b"}, proxymux: {listen: "10.0.0.1:12250"}}}`,
			[]string{"oci.files.dir: name a folder", "oci.files.region", "oci.files.target: name", "oci.proxymux.ca_file: name a file", "oci.proxymux.listen: 10.0.0.1", "oci.proxymux.region: name", "oci.proxymux.target: name"}},
		"TLS where there is none": {`{listen: "127.0.0.1:12250", oci: {proxymux: {target: oci-genai, ca_file: /c, region: r}}}`, []string{"oci.proxymux.listen: it speaks TLS"}},
		"TLS in a socket":         {`{oci: {proxymux: {target: oci-genai, ca_file: /c, region: r, listen: "unix:/s"}}}`, []string{"oci.proxymux.listen: Oracle's SDKs cannot"}},
		"ibm without a file":      {`{ibm: {target: watsonx, service: watsonx}}`, []string{"ibm.service: write the prefix", "ibm: IBM's SDKs read a file"}},
		"Vault about itself":      {`{vault: {mount: sys, paths: {auth/x: db, "a//b": db, "../a": db}}}`, []string{`vault.mount`, `vault.paths["../a"]`, `vault.paths["a//b"]`, `vault.paths["auth/x"]`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings(t, c.yaml)
			faults := s.Check(names)
			if len(faults) != len(c.want) {
				t.Fatalf("%v; want %d faults", faults, len(c.want))
			}
			for i, want := range c.want {
				if !strings.Contains(faults[i].Error(), want) {
					t.Errorf("%q; want %q", faults[i], want)
				}
			}
		})
	}
}

func TestSettingsKnowEachKey(t *testing.T) {
	for _, text := range []string{"aws: {targt: x}", "gce: {uid: [1]}", "oci: {files: {folder: x}}", "secretfile: x"} {
		var s door.Settings
		if err := yaml.UnmarshalWithOptions([]byte(text), &s, yaml.Strict()); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// An environment for each door, and of nothing else.
func TestEnvironment(t *testing.T) {
	s := settings(t, whole)
	s.OCI = nil
	a := open(t, newCambio(t), door.Settings{}, nil)
	room, err := door.New(s, door.Deps{Targets: a.targets})
	if err != nil {
		t.Fatal(err)
	}
	env := room.Env(map[string]string{"127.0.0.1:9901": "127.0.0.1:4321"})
	secret := env["VAULT_TOKEN"]
	want := map[string]string{
		"AWS_CONTAINER_CREDENTIALS_FULL_URI":     "http://127.0.0.1:4321/aws/bedrock",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/run/cambio/secret",
		"GCE_METADATA_HOST":                      "127.0.0.1:4321", "GCE_METADATA_IP": "127.0.0.1:4321", "GOOGLE_CLOUD_PROJECT": "p",
		"IDENTITY_ENDPOINT": "http://127.0.0.1:4321/azure/token", "IDENTITY_HEADER": secret,
		"WATSONX_AUTH_TYPE": "container", "WATSONX_CR_TOKEN_FILENAME": "/run/cambio/secret", "WATSONX_IAM_PROFILE_ID": "Profile-1",
		"WATSONX_AUTH_URL": "http://127.0.0.1:4321/ibm", "VAULT_ADDR": "http://127.0.0.1:4321", "VAULT_TOKEN": secret,
	}
	for name, value := range want {
		if env[name] != value {
			t.Errorf("%s is not as it should be", name)
		}
	}
	if len(env) != len(want) || len(secret) != 43 {
		t.Errorf("%d variables; want %d", len(env), len(want))
	}
	if text := fmt.Sprintf("%v %+v %#v", room, room, room); strings.Contains(text, secret) {
		t.Error("a room prints its secret")
	}
}

func TestREADME(t *testing.T) {
	_, block, _ := strings.Cut(read(t, "README.md"), "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	var c struct {
		Targets map[string]struct{} `yaml:"targets"`
		Doors   door.Settings       `yaml:"doors"`
	}
	if err := yaml.UnmarshalWithOptions([]byte(block), &c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if faults := c.Doors.Check(slices.Collect(maps.Keys(c.Targets))); len(faults) > 0 || c.Doors.AWS == nil {
		t.Error(faults)
	}
}
