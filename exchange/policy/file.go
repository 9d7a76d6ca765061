package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// file is what one policy file may say. The types of this file are the syntax: the
// decoder and the JSON Schema are both made from them.
type file struct {
	Trusts   map[string]trustFile        `yaml:"trusts,omitempty" jsonschema:"description=Issuers whose tokens are accepted\\, by name."`
	Clients  map[string]clientFile       `yaml:"clients,omitempty" jsonschema:"description=Registered clients\\, by client_id."`
	Targets  map[string]targetFile       `yaml:"targets,omitempty" jsonschema:"description=Named places that credentials are for."`
	Defaults defaultsFile                `yaml:"defaults,omitempty" jsonschema:"description=By provider: settings of every target that does not say otherwise."`
	Allow    []allowFile                 `yaml:"allow,omitempty" jsonschema:"description=Who gets what. The first rule that allows the whole request is the one."`
	Deny     []denyFile                  `yaml:"deny,omitempty" jsonschema:"description=Who never gets what. Any deny wins."`
	Roles    map[string][]attributesFile `yaml:"roles,omitempty" jsonschema:"description=Who may ask the audit log (auditor) and act on it (operator)."`
}

// trustFile holds exactly one kind.
type trustFile struct {
	Kubernetes *kubernetesFile `yaml:"kubernetes,omitempty" jsonschema:"description=Service-account tokens of a cluster."`
	OIDC       *oidcFile       `yaml:"oidc,omitempty" jsonschema:"description=Tokens of an OpenID provider."`
	SPIFFE     *spiffeFile     `yaml:"spiffe,omitempty" jsonschema:"description=JWT-SVIDs of a SPIFFE trust domain."`
	Session    *sessionFile    `yaml:"session,omitempty" jsonschema:"description=Session cookies of an application."`
}

// commonFile is what every kind of trust has.
type commonFile struct {
	Audiences  []string          `yaml:"audiences" jsonschema:"description=One of these must be in the token's aud."`
	Algorithms []string          `yaml:"algorithms,omitempty" jsonschema:"description=JOSE algorithms; default RS256 ES256 PS256 EdDSA."`
	Types      []string          `yaml:"types,omitempty" jsonschema:"description=Accepted typ headers; default: none\\, JWT and at+jwt; for SPIFFE: none\\, JWT and JOSE."`
	Leeway     time.Duration     `yaml:"leeway,omitempty" jsonschema:"description=On nbf and iat; default 30s. exp has none."`
	MaxAge     time.Duration     `yaml:"max_age,omitempty" jsonschema:"description=Greatest age of a token since its iat; default unbounded."`
	SingleUse  bool              `yaml:"single_use,omitempty" jsonschema:"description=Each token buys one exchange."`
	Clientless clientlessFile    `yaml:"clientless,omitempty"`
	Claims     map[string]string `yaml:"claims,omitempty" jsonschema:"description=Attribute to JSON path (RFC 9535) into the claims."`
	Record     []string          `yaml:"record,omitempty" jsonschema:"description=Attributes that the ledger keeps besides the subject."`
	Keys       keysFile          `yaml:"keys,omitempty" jsonschema:"description=Where the verification keys are; default: by OpenID Connect discovery."`
	CAFile     string            `yaml:"ca_file,omitempty" jsonschema:"description=PEM roots for the issuer's TLS; default: the system's."`
	Stale      time.Duration     `yaml:"stale,omitempty" jsonschema:"description=How long keys serve while the issuer is down; default 1h."`
}

type kubernetesFile struct {
	Issuer     string `yaml:"issuer" jsonschema:"description=The exact iss of the cluster's tokens."`
	commonFile `yaml:",inline"`
	Review     *reviewFile `yaml:"review,omitempty" jsonschema:"description=Ask the cluster whether a token still stands."`
}

type oidcFile struct {
	Issuer     string `yaml:"issuer" jsonschema:"description=The exact iss of the provider's tokens."`
	commonFile `yaml:",inline"`
	IDJAG      bool `yaml:"id_jag,omitempty" jsonschema:"description=Take the provider's identity assertion grants (ID-JAG)\\, too."`
}

type spiffeFile struct {
	TrustDomain string `yaml:"trust_domain" jsonschema:"description=The trust domain\\, without spiffe://."`
	commonFile  `yaml:",inline"`
}

// keysFile has at most one member.
type keysFile struct {
	URL  string `yaml:"url,omitempty" jsonschema:"description=https URL of a JWK Set or a SPIFFE bundle."`
	File string `yaml:"file,omitempty" jsonschema:"description=File with a JWK Set or a SPIFFE bundle\\, read again on change."`
}

type reviewFile struct {
	Server    string        `yaml:"server,omitempty" jsonschema:"description=https URL of the API server; default: in-cluster."`
	CAFile    string        `yaml:"ca_file,omitempty" jsonschema:"description=PEM roots; default: in-cluster."`
	TokenFile string        `yaml:"token_file,omitempty" jsonschema:"description=Bearer token for the API server; default: in-cluster."`
	Mode      string        `yaml:"mode,omitempty" jsonschema:"enum=never,enum=cached,enum=always,description=Default cached."`
	TTL       time.Duration `yaml:"ttl,omitempty" jsonschema:"description=How long a cached answer is good; default 30s."`
}

// clientlessFile is `true`, `false` or `{azp: [...]}` (S16).
type clientlessFile struct {
	yes bool
	azp []string
	at  ast.Node
}

func (c *clientlessFile) decodeNode(d *decoder, n ast.Node) {
	c.at = n
	switch n := n.(type) {
	case *ast.BoolNode:
		c.yes = n.Value
	case *ast.MappingNode, *ast.MappingValueNode:
		var parties struct {
			AZP []string `yaml:"azp"`
		}
		d.into(n, &parties)
		if len(parties.AZP) == 0 {
			d.fault(n, "clientless wants the authorized parties by name: {azp: [cli]}")
		}
		c.yes, c.azp = true, parties.AZP
	default:
		d.fault(n, "clientless is true, false or {azp: [cli, web]}")
	}
}

// targetFile has one key, the provider, and under it the settings that the
// provider's own type decodes: see compileTarget.
type targetFile struct{}

// defaultsFile has such settings for any number of providers.
type defaultsFile struct{}

// ruleFile is what both kinds of rule have.
type ruleFile struct {
	Name     string           `yaml:"name" jsonschema:"description=Unique; the ledger names the rule that decided."`
	Subjects []attributesFile `yaml:"subjects,omitempty" jsonschema:"description=Who the credential is for: one of these."`
	Actors   []attributesFile `yaml:"actors,omitempty" jsonschema:"description=Who acts for the subject\\, proven by a token in the request: one of these."`
	Clients  patternsFile     `yaml:"clients,omitempty" jsonschema:"description=Registered clients that asked: one of these."`
	Targets  patternsFile     `yaml:"targets,omitempty" jsonschema:"description=Names of targets."`
	Scopes   patternsFile     `yaml:"scopes,omitempty" jsonschema:"description=Scopes."`
	When     whenFile         `yaml:"when,omitempty"`
}

type allowFile struct {
	ruleFile      `yaml:",inline"`
	MaxTTL        time.Duration `yaml:"max_ttl,omitempty" jsonschema:"description=Longest lifetime that may be asked for."`
	RequireReason bool          `yaml:"require_reason,omitempty" jsonschema:"description=The request must say why."`
}

type denyFile struct {
	ruleFile `yaml:",inline"`
}

// pattern is a glob with its place.
type pattern struct {
	glob
	at ast.Node
}

// patternsFile is one pattern or a list of them.
type patternsFile struct {
	patterns []pattern
	said     bool
}

const maxPattern = 256 // bytes

func (p *patternsFile) decodeNode(d *decoder, n ast.Node) {
	p.said = true
	if _, list := n.(*ast.SequenceNode); !list {
		p.add(d, n)
		return
	}
	for _, item := range d.items(n) {
		p.add(d, item)
	}
	if len(p.patterns) == 0 {
		d.fault(n, "an empty list matches nothing: name something, or leave the key out")
	}
}

func (p *patternsFile) add(d *decoder, n ast.Node) {
	if isNull(n) {
		d.fault(n, "a value is missing here: write one, or leave the key out")
		return
	}
	text, ok := d.text(n)
	switch {
	case !ok:
	case text == "":
		d.fault(n, `an empty pattern matches nothing: "*" matches everything`)
	case len(text) > maxPattern:
		d.fault(n, "a pattern is at most %d bytes", maxPattern)
	default:
		p.patterns = append(p.patterns, pattern{glob: glob(text), at: n})
	}
}

// attributesFile maps attribute names to patterns: all attributes must match, each
// by one pattern.
type attributesFile struct {
	attributes []attributeFile
	at         ast.Node
}

type attributeFile struct {
	name     string
	at       ast.Node
	patterns []pattern
}

func (a *attributesFile) decodeNode(d *decoder, n ast.Node) {
	a.at = n
	entries := d.entries(n, "attribute")
	for _, e := range entries {
		var p patternsFile
		p.decodeNode(d, e.value)
		a.attributes = append(a.attributes, attributeFile{name: e.key, at: e.at, patterns: p.patterns})
	}
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) == 0 {
		d.fault(n, `{} would match everyone: write {trust: "*"} if that is meant`)
	}
}

// whenFile is a CEL expression with its place.
type whenFile struct {
	text string
	at   ast.Node
}

func (w *whenFile) decodeNode(d *decoder, n ast.Node) {
	if text, ok := d.text(n); ok {
		w.text, w.at = text, n
	}
}
