package config

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/file"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/proxy"
)

// Environment gives the value of a variable; empty: it is not set. os.Getenv is one.
type Environment func(name string) string

// Variables are those that Environment is asked for, and what each is for, in the order
// of the manual.
var Variables = []struct{ Name, Text string }{
	{"CAMBIO_URL", "the server's URL"},
	{"CAMBIO_CA_FILE", "PEM of the CAs to trust in the system's place"},
	{"CAMBIO_TOKEN_FILE", "the file of the token that is exchanged, read each time"},
	{"CAMBIO_TOKEN", "that token itself, where there is no file"},
	{"CAMBIO_CLIENT_ID", "a registered client's id"},
	{"CAMBIO_CLIENT_SECRET_FILE", "the file of its secret"},
	{"CAMBIO_OPS_LISTEN", "where the state is told; off: nowhere"},
	{"CAMBIO_TARGET", "targets, separated by commas"},
	{"CAMBIO_TOKEN_OUTPUT_FILE", "the first of them is written there, and kept fresh"},
	{"CAMBIO_AWS_TARGET", "opens the door of the AWS SDKs"},
	{"CAMBIO_AZURE_TARGET", "opens the door of the Azure SDKs"},
	{"CAMBIO_GCP_TARGET", "opens the door of Google's SDKs, to the agent's own user"},
	{"CAMBIO_GCP_PROJECT", "the project that it tells; default: GOOGLE_CLOUD_PROJECT"},
	{"CAMBIO_OCI_TARGET", "keeps the files of Oracle's SDKs"},
	{"CAMBIO_IBM_TARGET", "opens the door of IBM's SDKs"},
	{"CAMBIO_IBM_SERVICE", "the prefix of their variables; default: WATSONX"},
	{"CAMBIO_VAULT_TARGETS", "targets that Vault's clients may read, separated by commas"},
	{"CAMBIO_DIR", "where a door's secret and files are written; default: cambio in XDG_RUNTIME_DIR, or /run/cambio"},
	{"CAMBIO_PROXY_UPSTREAM", "a route of the proxy to there, with the first of CAMBIO_TARGET"},
	{"CAMBIO_PROXY_PRESET", "the provider that is there, such as openai, which needs no upstream"},
}

// Dir is where files go of which nobody says where.
func (env Environment) Dir() string {
	if dir := env("CAMBIO_DIR"); dir != "" {
		return filepath.Clean(dir)
	}
	if dir := env("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "cambio")
	}
	return "/run/cambio"
}

// fill gives the configuration what it leaves out. CAMBIO_TOKEN_FILE and CAMBIO_TOKEN
// are read by package caller.
func (env Environment) fill(c *Config) {
	set := func(to *string, name string) {
		if *to == "" {
			*to = env(name)
		}
	}
	set(&c.URL, "CAMBIO_URL")
	set(&c.CAFile, "CAMBIO_CA_FILE")
	if c.Client.ID == "" && c.Client.SecretFile == "" {
		c.Client.ID, c.Client.SecretFile = env("CAMBIO_CLIENT_ID"), env("CAMBIO_CLIENT_SECRET_FILE")
	}
	set(&c.Ops.Listen, "CAMBIO_OPS_LISTEN")
	targets := list(env("CAMBIO_TARGET"))
	for _, name := range targets {
		c.AddTarget(name)
	}
	env.doors(c)
	first := ""
	if len(targets) > 0 {
		first = targets[0]
	}
	if path := env("CAMBIO_TOKEN_OUTPUT_FILE"); path != "" && len(c.Files) == 0 {
		c.Files = file.Settings{{Path: path, Target: first}}
	}
	if upstream, preset := env("CAMBIO_PROXY_UPSTREAM"), env("CAMBIO_PROXY_PRESET"); (upstream != "" || preset != "") && len(c.Proxy.Routes) == 0 {
		c.Proxy.Routes = []proxy.Route{{Provider: preset, Upstream: upstream, Target: first}}
		if preset == "" {
			c.Proxy.Routes[0].Name, c.Proxy.Routes[0].Paths = first, []string{"/**"}
		}
		if c.Proxy.SecretFile == "" {
			c.Proxy.SecretFile = filepath.Join(env.Dir(), "proxy-secret")
		}
	}
}

// doors opens those that variables name and the file does not.
func (env Environment) doors(c *Config) {
	d, opened := &c.Doors, false
	open := func(name string, is bool) (string, bool) {
		target := strings.TrimSpace(env(name))
		if is || target == "" {
			return "", false
		}
		c.AddTarget(target)
		opened = true
		return target, true
	}
	if target, ok := open("CAMBIO_AWS_TARGET", d.AWS != nil); ok {
		d.AWS = &door.AWS{Target: target}
	}
	if target, ok := open("CAMBIO_AZURE_TARGET", d.Azure != nil); ok {
		d.Azure = &door.Azure{Target: target}
	}
	if target, ok := open("CAMBIO_GCP_TARGET", d.GCE != nil); ok {
		d.GCE = env.GCE(target)
	}
	if target, ok := open("CAMBIO_OCI_TARGET", d.OCI != nil); ok {
		d.OCI = &door.OCI{Files: &door.OCIFiles{Target: target, Dir: filepath.Join(env.Dir(), "oci")}}
	}
	if target, ok := open("CAMBIO_IBM_TARGET", d.IBM != nil); ok {
		d.IBM = env.IBM(target)
	}
	if targets := list(env("CAMBIO_VAULT_TARGETS")); len(targets) > 0 && d.Vault == nil {
		d.Vault, opened = &door.Vault{Targets: targets}, true
		for _, name := range targets {
			c.AddTarget(name)
		}
	}
	if opened && d.SecretFile == "" && d.SecretFrom == "" {
		// Without it nobody could knock: the secret is made anew at each start.
		d.SecretFile = filepath.Join(env.Dir(), "secret")
	}
}

// GCE is the door of Google's SDKs for processes of this user.
func (env Environment) GCE(target string) *door.GCE {
	project := env("CAMBIO_GCP_PROJECT")
	if project == "" {
		project = env("GOOGLE_CLOUD_PROJECT")
	}
	return &door.GCE{Target: target, Project: project, UIDs: []uint32{uint32(os.Getuid())}}
}

// IBM is the door of IBM's SDKs.
func (env Environment) IBM(target string) *door.IBM {
	service := env("CAMBIO_IBM_SERVICE")
	if service == "" {
		service = "WATSONX"
	}
	return &door.IBM{Target: target, Service: service}
}

// list reads names that are separated by commas.
func list(text string) []string {
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}
