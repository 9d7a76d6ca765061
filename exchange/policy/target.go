package policy

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/cambio-sts/cambio/exchange"
)

// maxLifetime bounds every lifetime that a policy can name: what lives longer is
// no short-lived credential.
const maxLifetime = 7 * 24 * time.Hour

func (c *compiler) compileTargets() {
	c.revision.targets = map[string]*exchange.Target{}
	c.revision.resources = map[string]*exchange.Target{}
	c.revision.authorities = map[string][]*exchange.Target{}
	defaults := map[string]named{}
	for _, d := range c.defaults {
		settings, ok := c.Providers.New(d.key)
		if !ok {
			d.fault(d.at, "unknown provider %q: %s", d.key, didYouMean(d.key, c.Providers.Kinds()))
			continue
		}
		d.checkSecrets(d.value, c.SecretNames, true)
		d.structure(d.value, reflect.ValueOf(settings).Elem(), nil)
		defaults[d.key] = d
	}
	for _, t := range c.targets {
		c.compileTarget(t, defaults)
	}
	for _, t := range c.targets {
		c.checkAuthority(t)
	}
}

// checkAuthority keeps what is signed for an authorization server from being for a
// resource, too: a resource that looks at `aud` alone would take it for an access
// token of ours.
func (c *compiler) checkAuthority(t named) {
	target := c.revision.targets[t.key]
	if target == nil || target.Authority == "" {
		return
	}
	if other := c.revision.resources[target.Authority]; other != nil {
		t.fault(t.at, "target %q is behind the authorization server %q, which is the resource of target %q: one URI is one or the other", t.key, target.Authority, other.Name)
	}
	c.revision.authorities[target.Authority] = append(c.revision.authorities[target.Authority], target)
}

func (c *compiler) compileTarget(t named, defaults map[string]named) {
	if !validName(t.key, nameBytes) {
		t.fault(t.at, "a target's name has 1 to 64 of a-z 0-9 . _ -")
	}
	if isNull(t.value) {
		t.fault(t.at, "target %q has no provider: write {mcp: {resource: …}} or the like", t.key)
		return
	}
	kinds := t.entries(t.value, "provider")
	if len(kinds) != 1 {
		t.fault(t.at, "target %q has one provider with its settings: %s", t.key, didYouMean("", c.Providers.Kinds()))
		return
	}
	kind := kinds[0]
	settings, ok := c.Providers.New(kind.key)
	if !ok {
		t.fault(kind.at, "unknown provider %q: %s", kind.key, didYouMean(kind.key, c.Providers.Kinds()))
		return
	}
	before := len(c.faults)
	t.checkSecrets(kind.value, c.SecretNames, true)
	written := map[string]any{}
	own := map[string]bool{}
	if !isNull(kind.value) { // `mcp:` alone leaves all to the defaults
		for _, e := range t.entries(kind.value, "key") {
			own[e.key], written[e.key] = true, plain(e.value)
		}
	}
	if d, ok := defaults[kind.key]; ok {
		ignored := *d.decoder
		ignored.faults = new(Faults) // reported once, for the defaults themselves
		ignored.structure(d.value, reflect.ValueOf(settings).Elem(), own)
		for _, e := range ignored.entries(d.value, "key") {
			if !own[e.key] {
				written[e.key] = plain(e.value)
			}
		}
	}
	if !isNull(kind.value) {
		t.structure(kind.value, reflect.ValueOf(settings).Elem(), nil)
	}
	if len(c.faults) > before {
		return
	}
	facts, errs := c.Providers.Inspect(settings)
	for _, err := range errs {
		at, d := settingAt(kind, err), t.decoder
		if from, ok := defaults[kind.key]; ok && at == kind.at { // it may be the defaults that are at fault
			if there := settingAt(from.entry, err); there != from.at {
				at, d = there, from.decoder
			}
		}
		d.fault(at, "target %q: %s", t.key, err)
	}
	if len(errs) > 0 {
		return
	}
	c.checkFacts(t, kind, facts)
	target := &exchange.Target{Tenant: c.Tenant, Name: t.key, Provider: kind.key, Facts: facts, Settings: settings}
	// Hashed as written, not as decoded: what a provider keeps to itself counts too.
	target.Hash = hashOf(struct {
		Tenant, Name, Provider string
		Facts                  exchange.Facts
		Settings               map[string]any
	}{c.Tenant, t.key, kind.key, facts, written})
	c.revision.targets[t.key] = target
	if facts.Resource != "" {
		if other, twice := c.revision.resources[facts.Resource]; twice {
			t.fault(find(kind.value, "resource"), "target %q has this resource already: a resource names one target", other.Name)
			return
		}
		c.revision.resources[facts.Resource] = target
	}
}

// checkFacts finds what a provider says of its settings that cannot be.
func (c *compiler) checkFacts(t named, kind entry, f exchange.Facts) {
	if f.Resource != "" {
		// RFC 8707 §2: an absolute URI without a fragment.
		u, err := url.Parse(f.Resource)
		if err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" || strings.Contains(f.Resource, "#") {
			t.fault(find(kind.value, "resource"), "resource is an absolute URI without a fragment, such as https://mcp.example/github")
		}
	}
	if f.MaxTTL > 0 && f.MinTTL > f.MaxTTL {
		t.fault(kind.at, "target %q: its shortest lifetime, %s, is over its longest, %s", t.key, f.MinTTL, f.MaxTTL)
	}
	if len(f.Types) == 0 {
		t.fault(kind.at, "target %q: provider %s issues no token type with these settings", t.key, kind.key)
	}
}

// settingAt is the place of the setting that an error begins with.
func settingAt(kind entry, err error) ast.Node {
	if isNull(kind.value) {
		return kind.at
	}
	name := err.Error()
	if end := strings.IndexAny(name, " :.[,"); end > 0 {
		name = name[:end]
	}
	if at := find(kind.value, name); at != kind.value {
		return at
	}
	return kind.at
}

// plain is a node as data that has canonical JSON. Numbers keep their spelling.
func plain(n ast.Node) any {
	switch n := n.(type) {
	case *ast.MappingNode:
		m := map[string]any{}
		for _, v := range n.Values {
			m[fmt.Sprint(v.Key)] = plain(v.Value)
		}
		return m
	case *ast.MappingValueNode:
		return map[string]any{fmt.Sprint(n.Key): plain(n.Value)}
	case *ast.SequenceNode:
		l := make([]any, len(n.Values))
		for i, v := range n.Values {
			l[i] = plain(v)
		}
		return l
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.StringNode:
		return n.Value
	case *ast.BoolNode:
		return n.Value
	case nil, *ast.NullNode:
		return nil
	default:
		return []string{n.Type().String(), n.String()}
	}
}
