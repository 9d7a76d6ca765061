package api

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// show writes a filter tree, for tests.
func show(n *ledger.Node) string {
	if n == nil {
		return "everything"
	}
	var parts []string
	for _, each := range n.Nodes {
		parts = append(parts, show(each))
	}
	switch n.Op {
	case ledger.OpAnd:
		return "(" + strings.Join(parts, " and ") + ")"
	case ledger.OpOr:
		return "(" + strings.Join(parts, " or ") + ")"
	case ledger.OpNot:
		return "not " + parts[0]
	}
	sign := map[ledger.Op]string{
		ledger.OpEq: "=", ledger.OpNe: "!=", ledger.OpLt: "<", ledger.OpLe: "<=", ledger.OpGt: ">", ledger.OpGe: ">=", ledger.OpHas: ":",
	}[n.Op]
	if n.Field == ledger.FieldTime {
		return fmt.Sprintf("time%s%d", sign, n.Value.Time)
	}
	return fmt.Sprintf("%s%s%q", n.Field, sign, n.Value.Text)
}

func TestFilterTrees(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "everything",
		" \n":                                   "everything",
		`target = "a"`:                          `target="a"`,
		`target="a" AND target!="b" AND rule=c`: `(target="a" and target!="b" and rule="c")`,
		`target=a OR target=b OR target=c`:      `(target="a" or target="b" or target="c")`,
		`target=a AND target=b OR target=c`:     `(target="a" and (target="b" or target="c"))`,
		`(target=a AND target=b) OR rule=c`:     `((target="a" and target="b") or rule="c")`,
		`NOT (target=a OR -rule:c)`:             `not (target="a" or not rule:"c")`,
		`subject:"k8s:prod:"`:                   `subject:"k8s:prod:"`,
		`actor:*`:                               `actor!=""`,
		`actor:"*"`:                             `actor:"*"`,
		`reason = 'it\'s'`:                      `reason="it's"`,
		`reason = "\u00e9\"\\"`:                 `reason="é\"\\"`,
		`time > timestamp("1970-01-01T00:00:01.000002Z")`: `time>1000002`,
		`time <= "1970-01-01T01:00:00+01:00"`:             `time<=0`,
		`error_kind = throttled`:                          `error_kind="throttled"`,
		`error_kind = ""`:                                 `error_kind=""`,
		`outcome:iss`:                                     `outcome:"iss"`,
	} {
		got, err := parseFilter(text)
		if err != nil || show(got.Root) != want {
			t.Errorf("%s: got %s, %v, want %s", text, show(got.Root), err, want)
		}
	}
}

func TestFilterKnowsEveryField(t *testing.T) {
	for _, field := range ledger.Fields() {
		value := map[ledger.Field]string{
			ledger.FieldTime: `"2026-11-21T12:00:00Z"`, ledger.FieldOutcome: "issued", ledger.FieldErrorKind: "internal",
			ledger.FieldExchange: `"0199a000-0000-7000-8000-000000000001"`,
		}[field]
		if value == "" {
			value = `"x"`
		}
		got, err := parseFilter(string(field) + " = " + value)
		if err != nil || got.Root.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// A fault says at which character it is and what was expected there.
func TestFilterFaultsSayWhereAndWhat(t *testing.T) {
	for text, want := range map[string]string{
		`foo = "x"`:                   "character 1: expected one of the fields time, subject, actor",
		`  foo = "x"`:                 "character 3: expected one of the fields",
		`reason = "é" AND foo = "x"`:  "character 18: expected one of the fields",
		`"target" = "x"`:              "character 1: expected one of the fields",
		`a.b = "x"`:                   "character 1: expected one of the fields",
		`target`:                      "character 1: a value by itself says nothing",
		`"x"`:                         "character 1: a value by itself says nothing",
		`target = `:                   "character 9: the filter ends too early",
		`target = "x" AND`:            "character",
		`target = "x`:                 "character 10: unterminated string",
		`(target = "x"`:               "character 14: the filter ends too early",
		`target = "x")`:               `character 13: ")" was not expected here`,
		`target == "x"`:               `character 9: "=" was not expected here`,
		`target = no-preview`:         `character 12: "-preview" was not expected here`,
		`target = "a" target = "b"`:   "character 14: expected AND or OR",
		`target = "a" && rule = "b"`:  "expected AND or OR",
		`target = "a" and rule = "b"`: "expected AND or OR",
		`target = 1`:                  "character 10: target is text: put the value in quotes",
		`target = a.b`:                "character 10: target is text: put the value in quotes",
		`target = (rule = "b")`:       "character 11: target is text",
		`target = f("b")`:             "character 10: target is text",
		`f("b")`:                      `character 1: "f" is not a comparison`,
		`duration("1h")`:              `is not a comparison`,
		`target < "x"`:                "character 1: < orders time and exchange only",
		`target:""`:                   "character 8: every value contains the empty text",
		`outcome = refused`:           "character 11: outcome is one of issued, denied, failed, unknown",
		`error_kind != nope`:          "character 15: error_kind is one of internal, invalid_request",
		`exchange = "x"`:              "character 12: an id is 36 characters",
		`exchange:"0199a000"`:         "found by its whole id",
		`time = "yesterday"`:          "character 8: expected a moment in RFC 3339",
		`time > timestamp("2026-13-01T00:00:00Z")`: "character 18: expected a moment in RFC 3339",
		`time > 5`:            "character 8: expected a moment in RFC 3339",
		`OR()`:                "is not a comparison",
		`FUZZY()`:             "is not a comparison",
		`AND(rule)`:           "",
		`time > timestamp(5)`: "expected a moment in RFC 3339",
		`time:*`:              "character 6: every exchange has a time",
		`reason = "a\nb"`:     "character 10: a value is one line",
		`reason = "a\x00b"`:   "character 10: a value is one line",
		"reason = \"\xff\"":   "invalid UTF-8",
		strings.Repeat("(", 21) + `target=a` + strings.Repeat(")", 21):             "character 21: parentheses are nested too deep",
		strings.Repeat("NOT (rule:a OR ", 19) + "rule:a" + strings.Repeat(")", 19): "too large",
		strings.Repeat("rule:a OR ", 100) + "rule:b":                               "too large",
		`reason = "` + strings.Repeat("x", 2048) + `"`:                             "too long: 2048 bytes",
		strings.Repeat("(", 2048):                                                  "nested too deep",
		`a"=` + strings.Repeat("(", 21) + "b":                                      "character 24: parentheses are nested too deep",
	} {
		_, err := parseFilter(text)
		if err == nil || exchange.KindOf(err) != exchange.KindInvalidRequest || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %q", text, err, want)
		}
	}
}

// The parser tries and goes back: what it does stays in proportion to the text all
// the same, whatever is nested in what. Each try that fails makes errors, so
// allocations count the tries.
func TestFilterWorkIsBounded(t *testing.T) {
	texts := []string{
		strings.Repeat("f((", 10) + strings.Repeat("a", 2000),
		strings.Repeat("f(", 20) + strings.Repeat("g ", 1000),
		strings.Repeat(" ", 2047) + "a",
		strings.Repeat("(f(f(", 6) + strings.Repeat("((", 4),
		strings.Repeat(`f("", `, 20) + strings.Repeat(`"", `, 400),
	}
	for _, flat := range []string{
		"NOT ", "-", "a.", "a ", "rule:a ", "a=b ", "a OR ", "a AND ", "a=b AND ", "a=b OR ", "f() ", "f()", "a=f()", "a=-", "1.", "a=1.", "NOT NOT ", "\"x\" ", "\\", "\n",
	} {
		texts = append(texts, strings.Repeat(flat, maxFilter/len(flat)))
	}
	for _, nested := range []string{
		"(", "f(", "a.b(", "f(a, ", "f(f(", "f((", "(f(", "((", "NOT (", "-(", "a=(", "a:(", "a=f(", "(a=", "f(a=", "f(-f(", "f(NOT ", "(a OR (", "a AND (b OR f(", "f(a f(", "f(a OR (",
	} {
		for _, inner := range []string{"", "a", "a=b", `"`} {
			for _, end := range []string{"", ")", " ) ", ",)"} {
				texts = append(texts, strings.Repeat(nested, ledger.MaxDepth/strings.Count(nested+"(", "("))+inner+strings.Repeat(end, ledger.MaxDepth))
			}
		}
	}
	for _, text := range texts {
		allocations := testing.AllocsPerRun(1, func() { _, _ = parseFilter(text) })
		if most := float64(1000 + 100*len(text)); allocations > most {
			t.Errorf("%.40q…, %d bytes: %.0f allocations", text, len(text), allocations)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		``, `target = "bedrock" AND time > timestamp("2026-11-01T00:00:00Z")`, `NOT (actor:* OR -rule:"x")`,
		`reason = "\x41\101\u0041\U00000041"`, `a.b.c = 1.5`, `f(g(h("x", y)))`, `target = 'a' target = "b"`,
		`exchange = "0199a000-0000-7000-8000-000000000001"`, "((((", `"`, `\`, "\x00", `outcome=issued`,
		`OR()`, `AND(rule:a)`, `FUZZY()`, `NOT()`, `=()`, `:(a)`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseFilter(text)
		if err != nil {
			if exchange.KindOf(err) != exchange.KindInvalidRequest || !utf8.ValidString(err.Error()) || len(err.Error()) > 1000 {
				t.Fatalf("fault %q", err)
			}
			return
		}
		if got.Root == nil {
			return
		}
		if nodes, depth := measure(got.Root); nodes > ledger.MaxNodes || depth > ledger.MaxDepth {
			t.Fatalf("%d nodes, %d deep", nodes, depth)
		}
		checkTree(t, got.Root)
	})
}

// checkTree holds what engines rely on.
func checkTree(t *testing.T, n *ledger.Node) {
	t.Helper()
	switch n.Op {
	case ledger.OpAnd, ledger.OpOr, ledger.OpNot:
		if n.Op == ledger.OpNot && len(n.Nodes) != 1 || n.Op != ledger.OpNot && len(n.Nodes) < 2 || n.Field != "" {
			t.Fatalf("combination %+v", n)
		}
		for _, each := range n.Nodes {
			checkTree(t, each)
		}
	case ledger.OpEq, ledger.OpNe, ledger.OpLt, ledger.OpLe, ledger.OpGt, ledger.OpGe, ledger.OpHas:
		if len(n.Nodes) != 0 || !slices.Contains(ledger.Fields(), n.Field) {
			t.Fatalf("comparison %+v", n)
		}
		if !utf8.ValidString(n.Value.Text) || hasControl(n.Value.Text) {
			t.Fatalf("value %q", n.Value.Text)
		}
	default:
		t.Fatalf("operator %d", n.Op)
	}
}
