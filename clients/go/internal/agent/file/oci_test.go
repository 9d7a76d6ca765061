package file_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"github.com/oracle/oci-go-sdk/v65/common"
)

// sdk is what Oracle's SDK makes of the files.
func (d *desk) sdk(config, profile string) (keyID, key, region, tenancy string) {
	d.t.Helper()
	provider, err := common.ConfigurationProviderForSessionTokenWithProfile(d.path(config), profile, "")
	if err != nil {
		d.t.Fatal(err)
	}
	if ok, err := common.IsConfigurationProviderValid(provider); !ok {
		d.t.Fatal(err)
	}
	private, err := provider.PrivateRSAKey()
	if err != nil {
		d.t.Fatal(err)
	}
	if keyID, err = provider.KeyID(); err != nil {
		d.t.Fatal(err)
	}
	if region, err = provider.Region(); err != nil {
		d.t.Fatal(err)
	}
	if tenancy, err = provider.TenancyOCID(); err != nil {
		d.t.Fatal(err)
	}
	return keyID, string(x509.MarshalPKCS1PublicKey(&private.PublicKey)), region, tenancy
}

func TestOCI(t *testing.T) {
	d := newDesk(t)
	const entry = `[{path: DIR/token, target: oci, mode: 0640, oci: {}}]`
	_, end := d.run(entry)
	keyID, key, region, tenancy := d.sdk("config", "DEFAULT")
	if keyID != "ST$"+d.secret("oci", 1) || region != "us-ashburn-1" || tenancy != "ocid1.tenancy.oc1..aaaa" {
		t.Errorf("the SDK reads another token, or %s of %s", region, tenancy)
	}
	// The key stays over renewals: SDKs read it once.
	d.passUntil(begin.Add(untilRenewal))
	if keyID, again, _, _ := d.sdk("config", "DEFAULT"); keyID != "ST$"+d.secret("oci", 2) || again != key {
		t.Error("another key, or an old token")
	}
	end()
	// And over a restart, with settings of its own.
	if err := d.room(`[{path: DIR/token, target: oci, mode: 0640, oci: {config_file: DIR/own, profile: LLM, region: eu-frankfurt-1, tenancy: ocid1.tenancy.oc1..bbbb}}]`).Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	keyID, again, region, tenancy := d.sdk("own", "LLM")
	if keyID != "ST$"+d.secret("oci", 2) || again != key || region != "eu-frankfurt-1" || tenancy != "ocid1.tenancy.oc1..bbbb" {
		t.Errorf("another key, or %s of %s", region, tenancy)
	}
	if n := d.exchanges("oci"); n != 2 {
		t.Errorf("%d exchanges", n)
	}
	for _, name := range []string{"token", "config", "key.pem", "own"} {
		if info, err := os.Stat(d.path(name)); err != nil || info.Mode() != 0o640 {
			t.Errorf("%s: %v, %v", name, err, info.Mode())
		}
	}
	d.tidy("token", "config", "key.pem", "own")
}

func TestOCIRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		file, text string
		mode       os.FileMode
		says       string
	}{
		"profiles of others":  {"config", "[DEFAULT]\nuser=me\n", 0o600, "it holds profiles of others"},
		"a key for everybody": {"key.pem", "x", 0o644, "others than configured may read it"},
		"no key":              {"key.pem", "x", 0o600, "holds no RSA key"},
		"another kind of key": {"key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: []byte("x")})), 0o600, "holds no RSA key as the agent writes it"},
	} {
		d := newDesk(t)
		if err := os.WriteFile(d.path(c.file), []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		err := d.room(`[{path: DIR/token, target: oci, oci: {}}]`).Once(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		d.has(c.file, c.text)
		d.tidy(c.file)
	}
}
