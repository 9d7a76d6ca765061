package main

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/cambio-sts/cambio/cmd/cambio/config"
)

// TestExamples checks every policy under examples and runs the cases beside it, as a
// pipeline would.
func TestExamples(t *testing.T) {
	folders, err := filepath.Glob("../../examples/*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, dir := range folders {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			args := []string{"--policy", dir}
			if folder := filepath.Join(dir, "policy"); exists(folder) { // with more than a policy in it
				args = []string{"--policy", folder}
			}
			if file := filepath.Join(dir, "cambio.yaml"); exists(file) {
				args = append(args, "--config", file)
			}
			for _, command := range []string{"check", "test"} { // a policy without cases fails the second
				out, err := exec.Command("cambio", append([]string{"policy", command}, args...)...).CombinedOutput()
				if err != nil {
					t.Errorf("policy %s: %v\n%s", command, err, out)
				}
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

const gatewayDir = "../../examples/llm-gateway"

// TestGatewayConfiguration: what the example's cambio.yaml lets out is what its policy
// needs to vend, and no more; and all of it is of its form.
func TestGatewayConfiguration(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(gatewayDir, "cambio.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := t.TempDir()
	for name, value := range map[string]string{"seal": "YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMDE=", "oci-app": "x"} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Parse("cambio.yaml", []byte(strings.ReplaceAll(string(text), "/run/secrets", secrets)), []string{"DATABASE_URL=postgres://x"})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("it warns: %q", c.Warnings)
	}
	allowed := map[string]bool{}
	for _, host := range c.Outbound.Allow {
		allowed[host] = true
	}
	// The settings that name no host have these.
	needed := []string{
		"sts.eu-west-1.amazonaws.com", "login.microsoftonline.com", "sts.googleapis.com", "iamcredentials.googleapis.com",
		"iam.cloud.ibm.com", "api.anthropic.com", "auth.openai.com",
	}
	p := gatewayPolicy(t)
	for _, at := range []string{"trusts.prod.kubernetes.issuer", "trusts.corp.oidc.issuer", "targets.oci-genai.oci.domain"} {
		text, _ := p.at(t, at).(string)
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		needed = append(needed, u.Host)
	}
	for _, host := range needed {
		if !allowed[host] {
			t.Errorf("outbound.allow lacks %s", host)
		}
		delete(allowed, host)
	}
	for host := range allowed {
		t.Errorf("outbound.allow has %s, which nothing asks", host)
	}
}

// TestGatewayManifest: the pod has the tokens that the policy asks for, and no others.
func TestGatewayManifest(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(gatewayDir, "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	audiences := map[string]string{}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var m struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
			Spec     struct {
				Template struct {
					Spec struct {
						ServiceAccountName           string `yaml:"serviceAccountName"`
						AutomountServiceAccountToken *bool  `yaml:"automountServiceAccountToken"`
						Volumes                      []struct {
							Projected struct {
								Sources []struct {
									Token struct{ Path, Audience string } `yaml:"serviceAccountToken"`
								}
							}
						}
					}
				}
			}
		}
		if err := yaml.Unmarshal([]byte(document), &m); err != nil {
			t.Fatal(err)
		}
		if m.Kind != "Deployment" {
			continue
		}
		pod := m.Spec.Template.Spec
		if m.Metadata.Namespace != "llm" || pod.ServiceAccountName != "gateway" || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			t.Errorf("the pod is of %s/%s, or has a token for the API server", m.Metadata.Namespace, pod.ServiceAccountName)
		}
		for _, v := range pod.Volumes {
			for _, s := range v.Projected.Sources {
				audiences[s.Token.Audience] = s.Token.Path
			}
		}
	}
	if len(audiences) != 2 || audiences["cambio"] != "token" || audiences["iam"] != "iam" {
		t.Errorf("it has tokens for %v", audiences)
	}
}

// tree is a YAML document as it is written.
type tree map[string]any

// gatewayPolicy is the policy of the example.
func gatewayPolicy(t testing.TB) tree {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(gatewayDir, "policy", "policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var p tree
	if err := yaml.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// at is what stands at a path of keys, which must be there.
func (p tree) at(t testing.TB, path string) any {
	t.Helper()
	var now any = map[string]any(p)
	for key := range strings.SplitSeq(path, ".") {
		m, _ := now.(map[string]any)
		if now = m[key]; now == nil {
			t.Fatalf("there is no %s", path)
		}
	}
	return now
}

// set writes a value into the map at a path.
func (p tree) set(t testing.TB, path, key string, value any) {
	t.Helper()
	m, ok := p.at(t, path).(map[string]any)
	if !ok {
		t.Fatalf("%s is no map", path)
	}
	m[key] = value
}
