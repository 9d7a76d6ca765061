package policy

import (
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/cambio-sts/cambio/exchange"
)

// CaseResult is the outcome of one case of a *_test.yaml file.
type CaseResult struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Name    string `json:"name"`
	Passed  bool   `json:"passed"`
	Message string `json:"message,omitempty"` // what was wanted and what came, when not passed
}

// casesFile is what a *_test.yaml file may say.
type casesFile struct {
	Cases []caseFile `yaml:"cases"`
}

// caseFile is one question and the answer that is wanted: exactly one of allowed
// and denied.
type caseFile struct {
	Name            string                `yaml:"name"`
	Subject         string                `yaml:"subject"` // canonical name
	Attributes      map[string]valuesFile `yaml:"attributes"`
	Actor           string                `yaml:"actor"` // canonical name of a proven actor
	ActorAttributes map[string]valuesFile `yaml:"actor_attributes"`
	Asserted        valuesFile            `yaml:"asserted"` // actors that the token's issuer asserts, outermost first
	Target          string                `yaml:"target"`
	Resource        string                `yaml:"resource"`
	Scopes          []string              `yaml:"scopes"`
	Lifetime        time.Duration         `yaml:"lifetime"`
	Type            string                `yaml:"type"`
	Reason          string                `yaml:"reason"`
	Client          string                `yaml:"client"`
	ClientIP        string                `yaml:"client_ip"`
	At              string                `yaml:"at"` // RFC 3339; default defaultMoment

	Allowed string     `yaml:"allowed"` // by this rule
	Denied  deniedFile `yaml:"denied"`  // true, or the deny rule's name
	Refusal string     `yaml:"refusal"` // with denied: the error kind, such as invalid_scope
	Granted []string   `yaml:"granted"` // with allowed: exactly these scopes
}

// deniedFile is `true` or the name of a deny rule.
type deniedFile struct {
	yes  bool
	rule string
}

func (f *deniedFile) decodeNode(d *decoder, n ast.Node) {
	if b, ok := n.(*ast.BoolNode); ok && b.Value {
		f.yes = true
		return
	}
	if s, ok := n.(*ast.StringNode); ok && s.Value != "" {
		f.yes, f.rule = true, s.Value
		return
	}
	d.fault(n, "denied is true, or the name of the deny rule that must decide")
}

// defaultMoment is when a case happens that does not say: a Monday at noon, UTC.
var defaultMoment = time.Date(2026, time.January, 5, 12, 0, 0, 0, time.UTC)

// RunTests runs every case of the *_test.yaml files in fsys's root, in order of
// file name. The error is a Faults with everything in the files that cannot be
// understood; then no case has run.
func RunTests(fsys fs.FS, r *Revision) ([]CaseResult, error) {
	s, faults := readFolder(fsys, func(name string) bool { return isYAML(name) && isTestFile(name) })
	var results []CaseResult
	for _, src := range s.files {
		body, bad := src.parse()
		faults = append(faults, bad...)
		if body == nil {
			continue
		}
		d := &decoder{src: src, faults: &faults}
		before := len(faults)
		var f casesFile
		d.into(body, &f)
		if len(faults) > before {
			continue
		}
		for i, n := range d.items(find(body, "cases")) {
			results = append(results, r.runCase(d, n, f.Cases[i]))
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return results, nil
}

func (r *Revision) runCase(d *decoder, n ast.Node, f caseFile) CaseResult {
	line, _ := place(n)
	result := CaseResult{File: d.src.name, Line: line, Name: f.Name}
	if result.Name == "" {
		result.Name = f.Subject + " → " + f.Target + f.Resource
	}
	q := r.question(d, n, f)
	if q == nil || (f.Allowed == "") == !f.Denied.yes || f.Refusal != "" && !f.Denied.yes || f.Granted != nil && f.Allowed == "" {
		if q != nil {
			d.fault(n, "a case wants one answer: allowed: RULE (with granted, if need be), or denied: true or DENY (with refusal, if need be)")
		}
		return result
	}
	if f.Refusal != "" && !slices.ContainsFunc(exchange.Kinds(), func(k exchange.Kind) bool { return k.String() == f.Refusal }) {
		d.fault(find(n, "refusal"), "unknown refusal %q: %s", f.Refusal, didYouMean(f.Refusal, refusals()))
		return result
	}
	got := r.Explain(*q)
	result.Message = f.compare(got)
	result.Passed = result.Message == ""
	return result
}

// refusals are the kinds that a decision can refuse with.
func refusals() []string {
	return []string{"invalid_target", "invalid_scope", "invalid_lifetime", "reason_required", "invalid_request"}
}

// compare says what is not as wanted; empty: nothing.
func (f caseFile) compare(got Explanation) string {
	came := "denied"
	if got.Allowed {
		came = "allowed by " + got.Rule
	}
	why := "; " + strings.Join(got.Reasons, "; ")
	switch {
	case f.Allowed != "" && !(got.Allowed && got.Rule == f.Allowed):
		return "wanted allowed by " + f.Allowed + ", but it is " + came + why
	case f.Denied.yes && got.Allowed:
		return "wanted denied, but it is " + came
	case f.Denied.rule != "" && got.Rule != f.Denied.rule:
		return "wanted denied by " + f.Denied.rule + ", but it is denied otherwise" + why
	case f.Refusal != "" && got.Refusal != f.Refusal:
		return "wanted refusal " + f.Refusal + ", but it is " + got.Refusal + why
	case f.Granted != nil && !slices.Equal(f.Granted, got.Scopes):
		return fmt.Sprintf("wanted the scopes %q, but they are %q", f.Granted, got.Scopes)
	}
	return ""
}

// question makes the case's question; nil where it has a fault.
func (r *Revision) question(d *decoder, n ast.Node, f caseFile) *exchange.Question {
	before := len(*d.faults)
	q := &exchange.Question{
		Tenant: r.tenant, Scopes: f.Scopes, Lifetime: f.Lifetime,
		Type: exchange.TokenType(f.Type), Reason: f.Reason, Now: defaultMoment,
	}
	var err error
	if q.Subject, err = Describe(r, f.Subject, plainValues(f.Attributes)); err != nil {
		d.fault(find(n, "subject"), "%s", err)
	}
	if err := DescribeClient(r, q, f.Client); err != nil {
		d.fault(find(n, "client"), "%s", err)
	}
	if f.Actor != "" {
		if err := DescribeActing(r, q, f.Actor, plainValues(f.ActorAttributes)); err != nil {
			d.fault(find(n, "actor"), "%s", err)
		}
	}
	DescribeAsserted(&q.Subject, f.Asserted)
	if err := exchange.CheckChain(q.Actors, q.Subject.Asserted); err != nil {
		d.fault(find(n, "asserted"), "%s", err)
	}
	if f.Target != "" {
		q.Audiences = []string{f.Target}
	}
	if f.Resource != "" {
		q.Resources = []string{f.Resource}
	}
	if f.Target == "" && f.Resource == "" {
		d.fault(n, "a case names a target or a resource")
	}
	if f.ClientIP != "" {
		if q.ClientIP, err = netip.ParseAddr(f.ClientIP); err != nil {
			d.fault(find(n, "client_ip"), "client_ip is an IP address")
		}
	}
	if f.At != "" {
		if q.Now, err = time.Parse(time.RFC3339, f.At); err != nil {
			d.fault(find(n, "at"), "at is a moment such as 2026-01-05T12:00:00Z")
		}
	}
	if len(*d.faults) > before {
		return nil
	}
	return q
}

// valuesFile is one attribute value or a list of them, also an empty one.
type valuesFile []string

func (v *valuesFile) decodeNode(d *decoder, n ast.Node) {
	*v = valuesFile{}
	items := []ast.Node{n}
	if list, ok := n.(*ast.SequenceNode); ok {
		items = list.Values
	}
	for _, item := range items {
		if isNull(item) {
			d.fault(n, "a value is missing here: write one, or leave the key out")
		} else if text, ok := d.text(item); ok {
			*v = append(*v, text)
		}
	}
}

func plainValues(files map[string]valuesFile) map[string][]string {
	all := make(map[string][]string, len(files))
	for name, values := range files {
		all[name] = values
	}
	return all
}
