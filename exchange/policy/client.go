package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/invopop/jsonschema"

	"github.com/cambio-sts/cambio/exchange"
)

// clientFile is a registered client. Exactly one of secret, private_key_jwt and
// trust says how it proves itself.
type clientFile struct {
	Secret          *clientSecretFile `yaml:"secret,omitempty" jsonschema:"description=A secret that cambio client secret made."`
	PrivateKeyJWT   *clientKeysFile   `yaml:"private_key_jwt,omitempty" jsonschema:"description=Assertions that the client signs (RFC 7523)."`
	Metadata        *clientURLFile    `yaml:"metadata,omitempty" jsonschema:"description=Assertions that the client signs; its name is the URL of its client-id metadata document\\, which says its keys."`
	Trust           *attributesFile   `yaml:"trust,omitempty" jsonschema:"description=Tokens of a trust: its name\\, and attributes of the token."`
	DefaultResource string            `yaml:"default_resource,omitempty" jsonschema:"description=URI of the target that is meant where a request names none."`
	Serves          []string          `yaml:"serves,omitempty" jsonschema:"description=URIs of the resources that the client is the server of: it may ask about tokens for them and exchange them on."`
	Grants          []string          `yaml:"grants,omitempty" jsonschema:"enum=client_credentials,enum=jwt-bearer,enum=token-exchange,description=What the client may use; default: all three."`
}

type clientSecretFile struct {
	SHA256 hashesFile `yaml:"sha256"`
}

type clientKeysFile struct {
	Keys       keysFile `yaml:"keys" jsonschema:"description=Where the client's public keys are."`
	Algorithms []string `yaml:"algorithms,omitempty" jsonschema:"description=JOSE algorithms; default RS256 ES256 PS256 EdDSA."`
	CAFile     string   `yaml:"ca_file,omitempty" jsonschema:"description=PEM roots for the TLS of keys.url; default: the system's."`
}

// hashesFile is one SHA-256 in hexadecimal, or two while one secret replaces the
// other.
type hashesFile struct{ sums [][32]byte }

const maxSecrets = 2

func (h *hashesFile) decodeNode(d *decoder, n ast.Node) {
	items := []ast.Node{n}
	if list, ok := n.(*ast.SequenceNode); ok {
		items = list.Values
	}
	if len(items) == 0 || len(items) > maxSecrets {
		d.fault(n, "one hash, or two while one secret replaces the other")
		return
	}
	for _, item := range items {
		text, ok := d.text(item)
		if !ok {
			continue
		}
		sum, err := hex.DecodeString(text)
		if err != nil || len(sum) != sha256.Size || strings.ToLower(text) != text {
			d.fault(item, "sha256 is the 64 hexadecimal digits that `cambio client secret` prints")
			continue
		}
		h.sums = append(h.sums, [32]byte(sum))
	}
}

// JSONSchema is the schema of one hash or two.
func (hashesFile) JSONSchema() *jsonschema.Schema {
	one, most := uint64(1), uint64(maxSecrets)
	text := &jsonschema.Schema{Type: "string", Pattern: "^[0-9a-f]{64}$"}
	return &jsonschema.Schema{
		Description: "SHA-256 of the secret as cambio client secret prints it; two while one secret replaces the other.",
		OneOf:       []*jsonschema.Schema{text, {Type: "array", Items: text, MinItems: &one, MaxItems: &most}},
	}
}

// grantNames are the grants as policy writes them.
var grantNames = map[string]string{
	"client_credentials": exchange.GrantClientCredentials,
	"jwt-bearer":         exchange.GrantJWTBearer,
	"token-exchange":     exchange.GrantTokenExchange,
}

// assertionAlgorithms are what a client may sign with.
var assertionAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// client is a registered client with what its token must match.
type client struct {
	exchange.Client
	token clause // of a client that proves itself by a trust's token
}

func (c *compiler) compileClients() {
	c.revision.clients = map[string]*client{}
	for _, n := range c.clients {
		n.checkSecrets(n.value, nil, false)
		c.checkClientName(n)
		for _, t := range c.revision.trusts {
			if t.Issuer == n.key {
				n.fault(n.at, "client %q is named like the issuer of trust %q: nobody could tell whose tokens they are", n.key, t.Name)
			}
		}
		c.compileClient(n)
	}
}

func (c *compiler) compileClient(n named) {
	before := len(c.faults)
	var f clientFile
	n.into(n.value, &f)
	if len(c.faults) > before {
		return
	}
	one := &client{Client: exchange.Client{Tenant: c.Tenant, Name: n.key, DefaultResource: f.DefaultResource}}
	ways := 0
	if f.Secret != nil {
		ways++
		if one.Secrets = f.Secret.SHA256.sums; len(one.Secrets) == 0 {
			n.fault(find(n.value, "secret"), "sha256 is wanted: `cambio client secret` makes a secret and prints the line")
		}
	}
	if k := f.PrivateKeyJWT; k != nil {
		ways++
		one.Keys = exchange.KeySource{URL: k.Keys.URL, File: c.path(k.Keys.File), CAFile: c.path(k.CAFile)}
		one.Algorithms = k.Algorithms
		c.checkClientKeys(n, find(n.value, "private_key_jwt"), one.Keys, k.Algorithms)
	}
	if f.Metadata != nil {
		ways++
		one.Keys, one.Algorithms = c.clientDocument(n, *f.Metadata)
	} else if isClientURL(n.key) {
		n.fault(n.at, "a client whose name is a URL proves itself by what the document there says: {metadata: {}}")
	}
	if f.Trust != nil {
		ways++
		one.Token = true
		one.token = c.clientToken(n, *f.Trust)
	}
	if ways != 1 {
		n.fault(n.at, "client %q proves itself in one way: {secret: …}, {private_key_jwt: …}, {metadata: …} or {trust: …}", n.key)
	}
	if f.DefaultResource != "" && c.revision.resources[f.DefaultResource] == nil {
		n.fault(find(n.value, "default_resource"), "no target has the resource %q: %s", f.DefaultResource, didYouMean(f.DefaultResource, keys(c.revision.resources)))
	}
	one.Serves = c.clientServes(n, f.Serves)
	one.Grants = c.clientGrants(n, f.Grants)
	if len(c.faults) > before {
		return
	}
	one.Hash = hashOf([]string{c.Tenant, n.key, n.value.String()})
	c.revision.clients[n.key] = one
}

func (c *compiler) checkClientKeys(n named, at ast.Node, k exchange.KeySource, algorithms []string) {
	switch {
	case k.URL == "" && k.File == "", k.URL != "" && k.File != "":
		n.fault(at, "say where the client's public keys are: keys: {url: …} or {file: …}")
	case k.URL != "" && !fetchable(k.URL):
		n.fault(find(at, "keys", "url"), "url is an https URL")
	}
	for _, a := range algorithms {
		if !slices.Contains(assertionAlgorithms, a) {
			n.fault(find(at, "algorithms"), "unknown algorithm %q: %s", a, didYouMean(a, assertionAlgorithms))
		}
	}
}

// clientToken is what the token of a client must match. A trust by itself would
// make all its subjects one client.
func (c *compiler) clientToken(n named, f attributesFile) clause {
	named, more := false, false
	for _, a := range f.attributes {
		if a.name == "trust" {
			named = len(a.patterns) == 1 && a.patterns[0].literal()
		} else {
			more = true
		}
	}
	if !named || !more {
		n.fault(f.at, "a client by token names one trust and who of it: {trust: prod, namespace: ci, service_account: runner}")
	}
	c.checkNoSession(n.decoder, f, "a session proves no client")
	var one clause
	for _, cl := range c.clauses(listed{node: n.value, decoder: n.decoder}, []attributesFile{f}) {
		one = cl
	}
	return one
}

func (c *compiler) clientGrants(n named, names []string) []string {
	if at := find(n.value, "grants"); at != n.value && len(names) == 0 {
		n.fault(at, "a client without any grant could do nothing: name one, or leave grants out")
	}
	if len(names) == 0 {
		names = []string{"client_credentials", "jwt-bearer", "token-exchange"}
	}
	var grants []string
	for _, name := range names {
		grant, ok := grantNames[name]
		if !ok {
			n.fault(find(n.value, "grants"), "unknown grant %q: %s", name, didYouMean(name, keys(grantNames)))
		}
		grants = append(grants, grant)
	}
	return grants
}

// checkClients finds names of clients, in a rule, that nobody registered.
func (c *compiler) checkClients(item listed, patterns []pattern) {
	for _, p := range patterns {
		if p.literal() && !slices.ContainsFunc(c.clients, func(n named) bool { return n.key == string(p.glob) }) {
			var names []string
			for _, n := range c.clients {
				names = append(names, n.key)
			}
			item.fault(p.at, "there is no client %q: %s", string(p.glob), didYouMean(string(p.glob), names))
		}
	}
}

// Client is the registered client of a name; false: there is none.
func (r *Revision) Client(name string) (exchange.Client, bool) {
	if c := r.clients[name]; c != nil {
		return c.Client, true
	}
	return exchange.Client{}, false
}

// Clients lists the registered clients by name.
func (r *Revision) Clients() []exchange.Client {
	var all []exchange.Client
	for _, c := range r.clients {
		all = append(all, c.Client)
	}
	slices.SortFunc(all, func(a, b exchange.Client) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// ClientsOf lists, by name, the clients that a verified token speaks for: several
// where policy says the same of several.
func (r *Revision) ClientsOf(s exchange.Subject) []exchange.Client {
	if s.Tenant != r.tenant || !r.sameTrust(s.Trust, s.TrustHash) {
		return nil
	}
	var all []exchange.Client
	for _, c := range r.clients {
		if c.Token && c.token.match(subjectIdentity(&s), nil) == nil {
			all = append(all, c.Client)
		}
	}
	slices.SortFunc(all, func(a, b exchange.Client) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// sameClient reports whether a client was proven as this revision has it.
func (r *Revision) sameClient(name string, hash [32]byte) bool {
	c := r.clients[name]
	return c != nil && c.Hash == hash
}

// describeClient is the client itself as a subject, for Describe.
func (r *Revision) describeClient(name string) (exchange.Subject, bool) {
	c := r.clients[name]
	if c == nil || c.Token {
		return exchange.Subject{}, false
	}
	s := c.Subject(time.Time{})
	s.Expires = time.Time{} // it proves nothing, as every description
	return s, true
}

// DescribeClient makes a question one of an authenticated client. A subject that is
// a client itself can be of no other, so its name may be left out. It proves
// nothing and is for Explain and tests only.
func DescribeClient(r *Revision, q *exchange.Question, name string) error {
	if name == "" && q.Subject.Kind == exchange.TrustClient {
		name = q.Subject.ID
	}
	if name == "" {
		return nil
	}
	c := r.clients[name]
	if c == nil {
		return fmt.Errorf("there is no client %q: %s", name, didYouMean(name, keys(r.clients)))
	}
	if q.Subject.Kind == exchange.TrustClient && q.Subject.ID != name {
		return fmt.Errorf("the subject is the client %q itself: the request can be of no other", q.Subject.ID)
	}
	q.Client, q.ClientHash = name, c.Hash
	return nil
}
