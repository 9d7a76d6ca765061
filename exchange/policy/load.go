package policy

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/cambio-sts/cambio/exchange"
)

// maxFaults bounds one report: nobody reads on.
const maxFaults = 500

// DefaultTenant is whose policy it is where nobody speaks of tenants (S22).
const DefaultTenant = "default"

// Providers knows the kinds of target and their settings. The registry of drivers
// is one.
type Providers interface {
	// Kinds lists the provider kinds.
	Kinds() []string
	// New returns a pointer to zero settings of a kind; false: no such kind.
	New(kind string) (settings any, ok bool)
	// Inspect says what the core must know of decoded settings, and every fault in
	// them, each beginning with the name of the setting.
	Inspect(settings any) (exchange.Facts, []error)
}

// Options is what Load needs besides the files.
type Options struct {
	Tenant      string // empty: DefaultTenant
	Providers   Providers
	SecretNames []string // the secrets that policy may name (S20)
	// CheckTrusts finds faults that only the verifier can see, each naming its
	// trust in quotes. Optional.
	CheckTrusts func([]exchange.Trust) []error
	// Dir is what relative file names in trusts are relative to. Empty: the
	// process's directory.
	Dir string
}

// Load reads and compiles every *.yaml and *.yml of fsys's root, save *_test.yaml,
// in order of name. The error is a Faults with everything that is wrong.
func Load(fsys fs.FS, o Options) (*Revision, error) {
	s, faults := readFolder(fsys, isPolicyFile)
	if len(faults) > 0 {
		return nil, faults
	}
	return compile(s, o)
}

// compile makes a revision of a folder already read.
func compile(s snapshot, o Options) (*Revision, error) {
	if o.Tenant == "" {
		o.Tenant = DefaultTenant
	}
	if len(s.files) == 0 {
		return nil, Faults{{Message: "the policy folder has no *.yaml file: write one with trusts, targets and allow rules"}}
	}
	c := &compiler{Options: o, revision: &Revision{tenant: o.Tenant, hash: s.hash}}
	c.collect(s)
	c.compileTrusts()
	c.compileTargets()
	c.compileClients()
	c.compileRules()
	c.compileRoles()
	if len(c.faults) > 0 {
		slices.SortStableFunc(c.faults, func(a, b Fault) int {
			return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		c.faults = slices.Compact(c.faults)
		if more := len(c.faults) - maxFaults; more > 0 {
			c.faults = append(c.faults[:maxFaults], Fault{Message: fmt.Sprintf("and %d more faults", more)})
		}
		return nil, c.faults
	}
	c.revision.index()
	return c.revision, nil
}

// compiler is one Load under way. It goes on after faults, so that one run finds
// them all.
type compiler struct {
	Options
	revision *Revision
	faults   Faults

	trusts, clients, targets, defaults, roles []named
	allow, deny                               []listed

	trustAt map[string]named // every trust that was written, good or bad
	sound   []exchange.Trust // those without a fault so far

	presenters map[string][]attributesFile // of session trusts
}

// named is a map entry of a section, with the file it is in.
type named struct {
	entry
	*decoder
}

// listed is an item of a list section.
type listed struct {
	node ast.Node
	*decoder
}

// collect merges the files' sections. The same name twice is a fault that says
// both places.
func (c *compiler) collect(s snapshot) {
	for _, src := range s.files {
		body, faults := src.parse()
		c.faults = append(c.faults, faults...)
		if body == nil {
			continue
		}
		d := &decoder{src: src, faults: &c.faults}
		for _, section := range d.entries(body, "key") {
			if isNull(section.value) {
				continue
			}
			switch section.key {
			case "trusts":
				c.trusts = c.merge(c.trusts, d, section.value, "trust")
			case "clients":
				c.clients = c.merge(c.clients, d, section.value, "client")
			case "targets":
				c.targets = c.merge(c.targets, d, section.value, "target")
			case "defaults":
				c.defaults = c.merge(c.defaults, d, section.value, "defaults for provider")
			case "roles":
				c.roles = c.merge(c.roles, d, section.value, "role")
			case "allow":
				c.allow = appendListed(c.allow, d, section.value)
			case "deny":
				c.deny = appendListed(c.deny, d, section.value)
			default:
				d.fault(section.at, "unknown key %q: %s", section.key,
					didYouMean(section.key, []string{"trusts", "clients", "targets", "defaults", "roles", "allow", "deny"}))
			}
		}
	}
}

func (c *compiler) merge(all []named, d *decoder, n ast.Node, what string) []named {
	before := make(map[string]named, len(all))
	for _, o := range all {
		before[o.key] = o
	}
	for _, e := range d.entries(n, what) {
		if first, twice := before[e.key]; twice {
			d.fault(e.at, "%s %q is in %s already: one of the two must go or have another name", what, e.key, first.where())
			continue
		}
		all = append(all, named{entry: e, decoder: d})
	}
	return all
}

func (n named) where() string {
	line, column := place(n.at)
	return fmt.Sprintf("%s:%d:%d", n.src.name, line, column)
}

func appendListed(all []listed, d *decoder, n ast.Node) []listed {
	for _, item := range d.items(n) {
		all = append(all, listed{node: item, decoder: d})
	}
	return all
}

// find is the node of a key below n, for the place of a fault; n itself where the
// key is not written.
func find(n ast.Node, path ...string) ast.Node {
	for _, key := range path {
		next := n
		var values []*ast.MappingValueNode
		switch m := n.(type) {
		case *ast.MappingNode:
			values = m.Values
		case *ast.MappingValueNode:
			values = []*ast.MappingValueNode{m}
		}
		for _, v := range values {
			if text, ok := keyText(v.Key); ok && text == key {
				next = v.Value
			}
		}
		if next == n {
			return n
		}
		n = next
	}
	return n
}
