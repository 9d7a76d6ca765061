package file

import (
	"bytes"
	"crypto/md5"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/disk"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/oci"
)

// ours is the first line of a configuration that may be replaced: people keep their
// own profiles in such files.
const ours = "# Written by cambio-agent: changes are lost.\n"

func (o *OCI) config(token string) string { return orBeside(o.ConfigFile, token, "config") }
func (o *OCI) key(token string) string    { return orBeside(o.KeyFile, token, "key.pem") }

func orBeside(path, token, name string) string {
	if path != "" {
		return path
	}
	return filepath.Join(filepath.Dir(token), name)
}

func (o *OCI) check() []error {
	var faults []error
	for _, setting := range []struct{ key, value, further string }{
		{"profile", o.Profile, " "}, {"region", o.Region, ""}, {"tenancy", o.Tenancy, ""},
	} {
		if !word(setting.value, setting.further) {
			faults = append(faults, fmt.Errorf("oci.%s: %q holds other than letters, digits, dots, dashes and underscores", setting.key, setting.value))
		}
	}
	for key, path := range map[string]string{"config_file": o.ConfigFile, "key_file": o.KeyFile} {
		if strings.ContainsFunc(path, control) || strings.HasSuffix(path, "/") {
			faults = append(faults, fmt.Errorf("oci.%s: %q is no path of a file", key, path))
		}
	}
	return faults
}

// word reports whether a text can stand in a line of a configuration.
func word(text, further string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-"+further, r))
	})
}

// ociFiles are the key, the token and the configuration of one entry.
type ociFiles struct {
	settings OCI
	target   string
	token    string
	access   disk.Access
	random   io.Reader

	session *oci.Session // nil until there is a key
	pem     []byte
	mark    string // fingerprint of the key
}

// render gives the key first and the configuration last: who waits for that finds all.
func (o *ociFiles) render(g *gathering) ([]part, error) {
	if o.session == nil {
		if err := o.begin(g.targets); err != nil {
			return nil, err
		}
	}
	c, err := g.from(o.session.Source())
	if err != nil {
		return nil, err
	}
	token, err := oci.Read(c)
	if err != nil {
		return nil, err
	}
	g.secret(string(o.pem))
	config, err := o.configuration(token)
	if err != nil {
		return nil, err
	}
	configPath := o.settings.config(o.token)
	if err := replaceable(configPath); err != nil {
		return nil, err
	}
	return []part{
		{path: o.settings.key(o.token), text: o.pem},
		{path: o.token, text: []byte(token.Token.Reveal()), dies: true},
		{path: configPath, text: config},
	}, nil
}

// begin takes the key that is there, or makes one: the programs that read it once go on
// over a restart of the agent.
func (o *ociFiles) begin(targets *target.Targets) error {
	request, err := targets.Request(o.target)
	if err != nil {
		return err
	}
	key, err := o.access.Key(o.settings.key(o.token), func() (*rsa.PrivateKey, error) { return oci.NewKey(o.random) })
	if err != nil {
		return err
	}
	session, err := oci.NewSession(targets.Client(), request, key)
	if err != nil {
		return err
	}
	o.session = session
	o.pem = disk.PEM(key)
	// A fingerprint is the MD5 of the public key (OCI documentation, "Required Keys and
	// OCIDs"): a name, which proves nothing, and nobody looks at it in a session.
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	o.mark = strings.ReplaceAll(fmt.Sprintf("% x", md5.Sum(public)), " ", ":")
	return nil
}

func (o *ociFiles) configuration(token oci.Credential) ([]byte, error) {
	profile, region, tenancy := o.settings.Profile, o.settings.Region, o.settings.Tenancy
	if profile == "" {
		profile = "DEFAULT"
	}
	if region == "" {
		region = token.Region
	}
	if tenancy == "" {
		tenancy = token.Tenancy
	}
	switch {
	case region == "":
		return nil, errors.New("oci.region: set it, the target has none")
	case !word(region, "") || !word(tenancy, ""):
		return nil, errors.New("the target's region and tenancy do not fit into a line of a configuration")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s[%s]\nfingerprint=%s\n", ours, profile, o.mark)
	for _, line := range []struct{ name, path string }{{"key_file", o.settings.key(o.token)}, {"security_token_file", o.token}} {
		path, err := filepath.Abs(line.path) // readers have folders of their own
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s=%s\n", line.name, path)
	}
	if tenancy != "" {
		fmt.Fprintf(&b, "tenancy=%s\n", tenancy)
	}
	fmt.Fprintf(&b, "region=%s\n", region)
	return b.Bytes(), nil
}

// replaceable refuses a configuration that somebody else wrote.
func replaceable(path string) error {
	text, err := disk.ReadOwn(path, len(ours))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return disk.Advise(path, err)
	case !strings.HasPrefix(string(text), ours):
		return fmt.Errorf("%s: it holds profiles of others: name a config_file of its own, and give it to the program by OCI_CONFIG_FILE", path)
	}
	return nil
}
