package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/cmd/cambio/config"
)

// TestS20ASecretGoesToItsHosts and to no other, whatever a target names.
func TestS20ASecretGoesToItsHosts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OCI_APP", "from-the-environment")
	c := &config.Config{Secrets: map[string]config.Source{
		"oci":   {Env: "OCI_APP", Hosts: []string{"idcs-0.example", "127.0.0.1:8443"}},
		"file":  {File: file, Hosts: []string{"idcs-0.example"}},
		"seal":  {Env: "OCI_APP"},
		"unset": {Env: "NOT_SET_ANYWHERE", Hosts: []string{"idcs-0.example"}},
	}}
	for _, good := range []struct{ name, host, want string }{
		{"oci", "idcs-0.example", "from-the-environment"}, {"oci", "idcs-0.example:443", "from-the-environment"},
		{"oci", "127.0.0.1:8443", "from-the-environment"}, {"file", "idcs-0.example", "from-a-file"},
	} {
		if s, err := c.TargetSecret(good.name, good.host); err != nil || s.Reveal() != good.want {
			t.Errorf("%s to %s: %v", good.name, good.host, err)
		}
	}
	for _, bad := range []struct{ name, host string }{
		{"oci", "idcs-0.example:8443"}, {"oci", "127.0.0.1"}, {"oci", "127.0.0.1:443"}, {"oci", "evil.example"}, {"oci", "idcs-0.example.evil.example"},
		{"oci", ""}, {"seal", "idcs-0.example"}, {"seal", ""}, {"other", "idcs-0.example"}, {"unset", "idcs-0.example"},
	} {
		if s, err := c.TargetSecret(bad.name, bad.host); err == nil || !s.IsZero() || strings.Contains(err.Error(), "from-") {
			t.Errorf("%s to %s: %v", bad.name, bad.host, err)
		}
	}
	if err := os.WriteFile(file, []byte("rotated"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := c.TargetSecret("file", "idcs-0.example"); err != nil || s.Reveal() != "rotated" {
		t.Errorf("after a change of the file: %v", err)
	}
}
