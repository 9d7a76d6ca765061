package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/cambio-sts/cambio/exchange"
)

// What a policy's rules may come to. An index over so many clauses still decides
// in time.
const (
	maxRules   = 100_000
	maxClauses = 200_000 // (rule, subject, actor) combinations
)

const ruleNameBytes = secretNameBytes

// rule is one compiled allow or deny.
type rule struct {
	name          string
	deny          bool
	file          string
	line          int
	subjects      []clause  // empty, in a deny: everyone
	actors        []clause  // empty: an allow is for undelegated requests, a deny for all
	clients       []pattern // empty: any client, or none
	targets       []pattern
	scopes        []pattern
	maxTTL        time.Duration // zero: unbounded
	requireReason bool
	when          *condition // nil: always
	literalScopes []string   // those of scopes that are no patterns: what a target without scopes of its own is given
	explanation   string     // for the ledger, when the rule allows
	hash          [32]byte   // of the rule as written: what it shaped is not reused under another (S23)
}

// clause is a conjunction over attributes.
type clause []predicate

// predicate says that an attribute has a value that one of the patterns matches.
type predicate struct {
	attribute string
	patterns  []pattern
}

// effect is "allow" or "deny".
func (r *rule) effect() string {
	if r.deny {
		return "deny"
	}
	return "allow"
}

func (c *compiler) compileRules() {
	names := map[string]string{}
	conditions := map[string]compiled{}
	clauses := 0
	for _, section := range []struct {
		deny  bool
		items []listed
		into  *[]rule
	}{{false, c.allow, &c.revision.allow}, {true, c.deny, &c.revision.deny}} {
		if len(section.items) > maxRules {
			c.faults = append(c.faults, Fault{Message: fmt.Sprintf("a policy has at most %d rules of a kind", maxRules)})
			continue
		}
		for _, item := range section.items {
			r, at := c.compileRule(item, section.deny, conditions)
			place := fmt.Sprintf("%s:%d", r.file, r.line)
			if first, twice := names[r.name]; twice && r.name != "" {
				item.fault(at, "rule %q is in %s already: give one of the two another name", r.name, first)
			}
			names[r.name] = place
			clauses += max(1, len(r.subjects)) * max(1, len(r.actors))
			*section.into = append(*section.into, r)
		}
	}
	if clauses > maxClauses {
		c.faults = append(c.faults, Fault{Message: fmt.Sprintf("the rules have %d combinations of subjects and actors, over %d: use patterns", clauses, maxClauses)})
	}
}

// compileRule returns what it could make of the rule, and the place of its name.
func (c *compiler) compileRule(item listed, deny bool, conditions map[string]compiled) (rule, ast.Node) {
	var f allowFile
	before := len(c.faults)
	if deny {
		var d denyFile
		item.into(item.node, &d)
		f.ruleFile = d.ruleFile
	} else {
		item.into(item.node, &f)
	}
	item.checkSecrets(item.node, nil, false)
	line, _ := place(item.node)
	at := find(item.node, "name")
	r := rule{
		name: f.Name, deny: deny, file: item.src.name, line: line,
		clients: f.Clients.patterns, targets: f.Targets.patterns, scopes: f.Scopes.patterns,
		maxTTL: f.MaxTTL, requireReason: f.RequireReason,
	}
	if len(c.faults) == before { // else what seems missing may be what was misspelt
		c.checkPresence(item, f, deny)
	}
	r.subjects = c.clauses(item, f.Subjects)
	for _, s := range f.Subjects {
		if !deny && len(f.Actors) == 0 {
			c.checkNoSession(item.decoder, s, "who presents one acts for it, so an allow for them names actors")
		}
	}
	for _, a := range f.Actors {
		if !deny {
			c.checkNoSession(item.decoder, a, "a session never acts")
		}
	}
	r.actors = c.clauses(item, f.Actors)
	c.checkClients(item, f.Clients.patterns)
	for _, t := range f.Targets.patterns {
		if t.literal() && !c.targetWritten(string(t.glob)) {
			item.fault(t.at, "there is no target %q: %s", string(t.glob), didYouMean(string(t.glob), c.targetNames()))
		}
	}
	if !deny {
		c.checkReach(item, r)
	}
	for _, s := range r.scopes {
		if s.literal() {
			r.literalScopes = append(r.literalScopes, string(s.glob))
		}
	}
	r.explanation = "allowed by rule " + strconv.Quote(r.name)
	r.hash = hashOf([]string{c.Tenant, item.node.String()})
	if f.When.at != nil {
		r.when = item.compileWhen(f.When, conditions)
	}
	return r, at
}

// checkPresence finds keys that are missing, and empty lists, whose meaning nobody
// could be sure of.
func (c *compiler) checkPresence(item listed, f allowFile, deny bool) {
	if !validName(f.Name, ruleNameBytes) {
		item.fault(find(item.node, "name"), "a rule has a name of 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	if !deny {
		if len(f.Subjects) == 0 {
			item.fault(find(item.node, "subjects"), `an allow says for whom: subjects: [{trust: …, …}]`)
		}
		if !f.Targets.said {
			item.fault(item.node, `an allow says which targets: targets: [name], or ["*"] for all`)
		}
		if at := find(item.node, "max_ttl"); at != item.node && (f.MaxTTL <= 0 || f.MaxTTL > maxLifetime) {
			item.fault(at, "max_ttl is over zero and at most %s", maxLifetime)
		}
	}
	for key, length := range map[string]int{"subjects": len(f.Subjects), "actors": len(f.Actors)} {
		if at := find(item.node, key); at != item.node && length == 0 && (deny || key == "actors") {
			item.fault(at, "an empty list matches nobody: leave %s out, or name someone", key)
		}
	}
	if deny && len(f.Subjects) == 0 && len(f.Actors) == 0 && !f.Clients.said && !f.Targets.said && !f.Scopes.said && f.When.at == nil {
		item.fault(item.node, `this would deny everything: write targets: ["*"] if that is meant`)
	}
}

// clauses checks attribute names against what the trusts in question can give.
func (c *compiler) clauses(item listed, files []attributesFile) []clause {
	var all []clause
	for _, f := range files {
		var trusts []pattern
		for _, a := range f.attributes {
			if a.name == "trust" {
				trusts = a.patterns
			}
		}
		for _, p := range trusts {
			if _, ok := c.trustAt[string(p.glob)]; p.literal() && !ok {
				item.fault(p.at, "there is no trust %q: %s", string(p.glob), didYouMean(string(p.glob), keys(c.trustAt)))
			}
		}
		possible, complete := c.attributesOf(trusts)
		var one clause
		for _, a := range f.attributes {
			if a.name != "trust" && a.name != "subject" && complete && !possible[a.name] {
				item.fault(a.at, "no subject of these trusts has an attribute %q: %s", a.name,
					didYouMean(a.name, append(keys(possible), "trust", "subject")))
			}
			one = append(one, predicate{attribute: a.name, patterns: a.patterns})
		}
		if len(one) > 0 {
			all = append(all, one)
		}
	}
	return all
}

// attributesOf is every attribute that a subject of a matching trust can have, and
// whether that is known: not where no trust matches, or where one has a fault of
// its own.
func (c *compiler) attributesOf(trusts []pattern) (possible map[string]bool, complete bool) {
	possible, complete = map[string]bool{}, true
	matched := false
	for name := range c.trustAt {
		if len(trusts) > 0 && !anyMatch(trusts, name) {
			continue
		}
		matched = true
		yields, ok := c.revision.yields[name]
		complete = complete && ok
		for a := range yields {
			possible[a] = true
		}
	}
	return possible, complete && matched
}

func (c *compiler) targetWritten(name string) bool {
	return slices.ContainsFunc(c.targets, func(t named) bool { return t.key == name })
}

func (c *compiler) targetNames() []string {
	var names []string
	for _, t := range c.targets {
		names = append(names, t.key)
	}
	return names
}

// checkReach finds allows that could never allow a target that they name.
func (c *compiler) checkReach(item listed, r rule) {
	for _, p := range r.targets {
		target, ok := c.revision.targets[string(p.glob)]
		if !ok || !p.literal() {
			continue
		}
		if r.maxTTL > 0 && target.MinTTL > r.maxTTL && !target.MayOutlive {
			item.fault(find(item.node, "max_ttl"), "target %q gives no lifetime under %s: raise max_ttl, or say may_outlive: true at the target",
				target.Name, target.MinTTL)
		}
		if target.Scopes == nil {
			continue
		}
		for _, s := range r.scopes {
			if !slices.ContainsFunc(target.Scopes, s.match) {
				item.fault(s.at, "target %q has no scope %q: %s", target.Name, string(s.glob), didYouMean(string(s.glob), target.Scopes))
			}
		}
	}
}

func (c *compiler) compileRoles() {
	c.revision.roles = map[string][]clause{}
	for _, r := range c.roles {
		if !slices.Contains(knownRoles, r.key) {
			r.fault(r.at, "unknown role %q: %s", r.key, didYouMean(r.key, knownRoles))
		}
		r.checkSecrets(r.value, nil, false)
		var files []attributesFile
		r.into(r.value, &files)
		c.revision.roles[r.key] = c.clauses(listed{node: r.value, decoder: r.decoder}, files)
	}
}

// match reports whether someone has the attributes. missing says, for an attribute
// that is not there, whether that counts as a match (S14); nil: never.
func (cl clause) match(who identity, missing func(attribute string) bool) (failed *predicate) {
	for i, p := range cl {
		single, many, present := who.values(p.attribute)
		switch {
		case !present && missing != nil && missing(p.attribute):
			continue
		case single != "" && anyMatch(p.patterns, single):
			continue
		case slices.ContainsFunc(many, func(v string) bool { return anyMatch(p.patterns, v) }):
			continue
		}
		return &cl[i]
	}
	return nil
}

// String is the predicate as one would write it.
func (p predicate) String() string {
	texts := make([]string, len(p.patterns))
	for i, g := range p.patterns {
		texts[i] = string(g.glob)
	}
	if len(texts) == 1 {
		return p.attribute + ": " + texts[0]
	}
	return p.attribute + ": [" + strings.Join(texts, ", ") + "]"
}

// identity is what clauses look at: a subject or an actor.
type identity struct {
	name, trust string
	attributes  exchange.Attributes
}

func subjectIdentity(s *exchange.Subject) identity {
	return identity{name: s.Name, trust: s.Trust, attributes: s.Attributes}
}

func actorIdentity(a *exchange.Actor) identity {
	return identity{name: a.Name, trust: a.Trust, attributes: a.Attributes}
}

// values are an attribute's values: one of its own, or those of the token.
func (i identity) values(attribute string) (single string, many []string, present bool) {
	switch attribute {
	case "trust":
		return i.trust, nil, true
	case "subject":
		return i.name, nil, true
	default:
		many, present = i.attributes[attribute]
		return "", many, present
	}
}
