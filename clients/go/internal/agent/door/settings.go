package door

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	// DefaultListen is where the doors are, unless the settings say otherwise.
	DefaultListen = "127.0.0.1:9901"
	// DefaultProxymux has the port that Oracle's SDKs fix.
	DefaultProxymux = "127.0.0.1:12250"

	unixPrefix = "unix:"
)

// Settings are the doors that stand open: those that are there.
type Settings struct {
	// Listen is the address of the doors that name none of their own: of loopback, or
	// unix:/path, by which only Vault's clients can come. Default: DefaultListen.
	Listen string `yaml:"listen"`
	// SecretFile is where the secret that callers bring is written, for its owner
	// alone. IBM's SDKs need it; those of AWS read it each time, so that they survive
	// a new start of the agent.
	SecretFile string `yaml:"secret_file"`
	// SecretFrom is a file with a secret of 32 characters or more, in place of one that
	// is made at each start: containers of a pod can share it.
	SecretFrom string `yaml:"secret_from"`

	AWS   *AWS   `yaml:"aws"`
	GCE   *GCE   `yaml:"gce"`
	Azure *Azure `yaml:"azure"`
	OCI   *OCI   `yaml:"oci"`
	IBM   *IBM   `yaml:"ibm"`
	Vault *Vault `yaml:"vault"`
}

// AWS is the door of AWS container credentials.
type AWS struct {
	Target  string   `yaml:"target"`  // the one that the environment names
	Targets []string `yaml:"targets"` // further ones, at /aws/NAME
}

// GCE is the metadata server of a Google Compute Engine. It asks for no secret: UIDs
// says whose processes may come. It needs Linux.
type GCE struct {
	Listen         string   `yaml:"listen"` // default: that of all
	Target         string   `yaml:"target"`
	Project        string   `yaml:"project"`         // project id
	ProjectNumber  string   `yaml:"project_number"`  // default: none is told
	ServiceAccount string   `yaml:"service_account"` // email that is told; default: "default"
	UIDs           []uint32 `yaml:"uids"`
	// Scopes are those that an SDK may choose from. Without them it gets the target's,
	// whatever it asks for.
	Scopes []string `yaml:"scopes"`
	// Identities are targets that give ID tokens, by the audience that is asked for.
	Identities map[string]string `yaml:"identities"`
}

// Azure is the identity endpoint of Azure App Service. Its SDKs have the secret in their
// environment: those of another container want a secret_from.
type Azure struct {
	Target string `yaml:"target"` // for whatever resource is asked for
	// Targets are by resource, such as https://cognitiveservices.azure.com.
	Targets map[string]string `yaml:"targets"`
	// ClientID is the one user-assigned identity that may be asked for; default: what
	// is asked for does not matter.
	ClientID string `yaml:"client_id"`
}

// OCI is both ways by which Oracle's SDKs find a resource principal.
type OCI struct {
	Files    *OCIFiles `yaml:"files"`
	Proxymux *Proxymux `yaml:"proxymux"`
}

// OCIFiles keeps key, session token and region in a folder (version 2.2).
type OCIFiles struct {
	Target string `yaml:"target"`
	Dir    string `yaml:"dir"`
	// Region is told to SDKs by their environment. Default: what the token says, once
	// there is one, and before that the file that has it, which the SDK for Go does
	// not read.
	Region string `yaml:"region"`
}

// Proxymux answers as the service of that name on OKE does: with tokens for the keys
// that SDKs make.
type Proxymux struct {
	Target string `yaml:"target"`
	Listen string `yaml:"listen"`  // default: DefaultProxymux
	CAFile string `yaml:"ca_file"` // where the CA to trust is written
	Region string `yaml:"region"`  // told to the SDK, which asks nobody
	// KubernetesHost sets KUBERNETES_SERVICE_HOST too, by which alone Oracle's SDK for
	// Python finds the listener. Kubernetes clients of the same process go astray then.
	KubernetesHost bool `yaml:"kubernetes_host"`
	// TokenFile is the service account token that the pod's SDKs bring, which is as
	// good as the secret. Default: only the secret is.
	TokenFile string `yaml:"token_file"`
}

// IBM is IAM's exchange of compute resource tokens.
type IBM struct {
	Target string `yaml:"target"`
	// Service is the prefix of the environment's names, such as WATSONX.
	Service string `yaml:"service"`
	// ProfileID is the one that may be asked for; default: it does not matter.
	ProfileID string `yaml:"profile_id"`
}

// Vault is reads of HashiCorp Vault.
type Vault struct {
	Mount   string   `yaml:"mount"`   // default: secret
	Targets []string `yaml:"targets"` // at MOUNT/data/NAME (KV 2) and MOUNT/NAME
	// Paths are targets by the path that clients read already, such as
	// database/creds/app or secret/data/openai.
	Paths map[string]string `yaml:"paths"`
}

func (s *Settings) listen() string {
	if s.Listen == "" {
		return DefaultListen
	}
	return s.Listen
}

func (g *GCE) listen(s *Settings) string {
	if g.Listen == "" {
		return s.listen()
	}
	return g.Listen
}

func (p *Proxymux) listen() string {
	if p.Listen == "" {
		return DefaultProxymux
	}
	return p.Listen
}

func (v *Vault) mount() string {
	if v.Mount == "" {
		return "secret"
	}
	return v.Mount
}

// Check tells every fault, by the path of its key.
func (s *Settings) Check(targets []string) []error {
	c := &check{targets: targets}
	c.address("listen", s.listen())
	c.file("secret_file", s.SecretFile)
	c.file("secret_from", s.SecretFrom)
	if s.SecretFile != "" && s.SecretFile == s.SecretFrom {
		c.fault("secret_file", "it is that of secret_from, which is read: leave it out")
	}
	if strings.HasPrefix(s.listen(), unixPrefix) {
		for name, is := range map[string]bool{"aws": s.AWS != nil, "azure": s.Azure != nil, "ibm": s.IBM != nil} {
			if is {
				c.fault(name, "its SDKs cannot speak to a unix socket: give doors.listen an address of loopback")
			}
		}
	}
	if s.AWS != nil {
		c.aws(s.AWS)
	}
	if s.GCE != nil {
		c.gce(s.GCE, s)
	}
	if s.Azure != nil {
		c.azure(s.Azure)
	}
	if s.OCI != nil {
		c.oci(s.OCI, s)
	}
	if s.IBM != nil {
		c.ibm(s.IBM, s)
	}
	if s.Vault != nil {
		c.vault(s.Vault)
	}
	slices.SortStableFunc(c.faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return c.faults
}

type check struct {
	targets []string
	faults  []error
}

func (c *check) fault(key, format string, args ...any) {
	c.faults = append(c.faults, fmt.Errorf(key+": "+format, args...))
}

func (c *check) target(key, name string) {
	switch {
	case name == "":
		c.fault(key, "name a target")
	case !slices.Contains(c.targets, name):
		c.fault(key, "no target is called %q", name)
	}
}

func (c *check) file(key, path string) {
	if path != "" && !filepath.IsAbs(path) {
		c.fault(key, "write an absolute path")
	}
}

func (c *check) address(key, address string) {
	if err := local(address); err != nil {
		c.fault(key, "%w", err)
	}
}

// local checks that an address is this machine's alone. The link-local ones are where
// clouds have the same services: SDKs of AWS trust them (169.254.170.2 of ECS,
// 169.254.170.23 and fd00:ec2::23 of EKS), and Google's has its metadata server there.
func local(address string) error {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		if !filepath.IsAbs(path) {
			return errors.New("write unix: and an absolute path")
		}
		return nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return errors.New("write an IP address of loopback with a port, such as 127.0.0.1:9901")
	}
	ip := at.Addr()
	if ip.IsLoopback() && ip.Zone() == "" || slices.Contains(linkLocal, ip) {
		return nil
	}
	return fmt.Errorf("%s is not this machine's alone: use 127.0.0.1 or [::1]", ip)
}

var linkLocal = []netip.Addr{
	netip.MustParseAddr("169.254.170.2"), netip.MustParseAddr("169.254.170.23"),
	netip.MustParseAddr("fd00:ec2::23"), netip.MustParseAddr("169.254.169.254"),
}

func (c *check) aws(a *AWS) {
	c.target("aws.target", a.Target)
	for i, name := range a.Targets {
		c.target(fmt.Sprintf("aws.targets[%d]", i), name)
	}
}

func (c *check) gce(g *GCE, s *Settings) {
	c.target("gce.target", g.Target)
	c.address("gce.listen", g.listen(s))
	if strings.HasPrefix(g.listen(s), unixPrefix) {
		c.fault("gce.listen", "Google's SDKs cannot speak to a unix socket: give it an address of loopback")
	}
	if !word.MatchString(g.Project) {
		c.fault("gce.project", "name the project")
	}
	if g.ProjectNumber != "" && !word.MatchString(g.ProjectNumber) {
		c.fault("gce.project_number", "it is a number")
	}
	if g.ServiceAccount != "" && !word.MatchString(g.ServiceAccount) {
		c.fault("gce.service_account", "write the email of a service account")
	}
	if len(g.UIDs) == 0 {
		c.fault("gce.uids", "list the uids whose processes may ask: its SDKs can bring no secret")
	}
	for i, scope := range g.Scopes {
		if scope == "" || strings.ContainsAny(scope, ", \t\n") {
			c.fault(fmt.Sprintf("gce.scopes[%d]", i), "a scope has no blank and no comma")
		}
	}
	for _, audience := range slices.Sorted(maps.Keys(g.Identities)) {
		c.target(fmt.Sprintf("gce.identities[%q]", audience), g.Identities[audience])
	}
}

func (c *check) azure(a *Azure) {
	switch {
	case (a.Target == "") == (len(a.Targets) == 0):
		c.fault("azure", "give target, or targets by resource")
	case a.Target != "":
		c.target("azure.target", a.Target)
	}
	for _, resource := range slices.Sorted(maps.Keys(a.Targets)) {
		c.target(fmt.Sprintf("azure.targets[%q]", resource), a.Targets[resource])
	}
}

func (c *check) oci(o *OCI, s *Settings) {
	if o.Files == nil && o.Proxymux == nil {
		c.fault("oci", "give files, or proxymux")
	}
	if f := o.Files; f != nil {
		c.target("oci.files.target", f.Target)
		if c.file("oci.files.dir", f.Dir); f.Dir == "" {
			c.fault("oci.files.dir", "name a folder that is the workload's alone")
		}
		if f.Region != "" && !word.MatchString(f.Region) {
			c.fault("oci.files.region", "name the region, such as us-ashburn-1")
		}
	}
	if p := o.Proxymux; p != nil {
		c.target("oci.proxymux.target", p.Target)
		c.address("oci.proxymux.listen", p.listen())
		switch {
		case strings.HasPrefix(p.listen(), unixPrefix):
			c.fault("oci.proxymux.listen", "Oracle's SDKs cannot speak to a unix socket: give it an address of loopback")
		case p.listen() == s.listen(), s.GCE != nil && p.listen() == s.GCE.listen(s):
			c.fault("oci.proxymux.listen", "it speaks TLS: give it an address of its own")
		}
		if c.file("oci.proxymux.ca_file", p.CAFile); p.CAFile == "" {
			c.fault("oci.proxymux.ca_file", "name a file for the CA that SDKs are to trust")
		}
		if !word.MatchString(p.Region) {
			c.fault("oci.proxymux.region", "name the region, such as us-ashburn-1")
		}
		c.file("oci.proxymux.token_file", p.TokenFile)
	}
}

func (c *check) ibm(i *IBM, s *Settings) {
	c.target("ibm.target", i.Target)
	if !variable.MatchString(i.Service) {
		c.fault("ibm.service", "write the prefix of the SDK's variables, such as WATSONX")
	}
	if s.SecretFile == "" && s.SecretFrom == "" {
		c.fault("ibm", "IBM's SDKs read a file: give doors.secret_file")
	}
}

func (c *check) vault(v *Vault) {
	if len(v.Targets)+len(v.Paths) == 0 {
		c.fault("vault", "give targets, or paths")
	}
	if !segments.MatchString(v.mount()) || reserved(v.mount()) {
		c.fault("vault.mount", "it is the name of a mount, such as secret; not sys, auth or identity")
	}
	for i, name := range v.Targets {
		c.target(fmt.Sprintf("vault.targets[%d]", i), name)
	}
	for _, path := range slices.Sorted(maps.Keys(v.Paths)) {
		key := fmt.Sprintf("vault.paths[%q]", path)
		if !segments.MatchString(path) || reserved(path) {
			c.fault(key, "write a path as after /v1/, such as database/creds/app; not below sys, auth or identity")
		}
		c.target(key, v.Paths[path])
	}
}

// reserved reports whether a path of Vault's is about Vault itself.
func reserved(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first == "sys" || first == "auth" || first == "identity"
}

var (
	word     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@-]*$`)
	segments = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)
	variable = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
)
