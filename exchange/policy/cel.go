package policy

import (
	"errors"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/ext"
	"github.com/goccy/go-yaml/ast"

	"github.com/cambio-sts/cambio/exchange"
)

// What a condition may cost, in CEL's own units (about one per step or per ten
// characters looked at; some 50 ns each).
const (
	maxExpression   = 4096    // characters
	runCost         = 20_000  // a run over this is an error (S14)
	worstCost       = 500_000 // an estimate over this is refused at load
	assumedValues   = 128     // of one attribute, for the estimate
	assumedText     = 256     // characters of a text, for the estimate
	maxRecursion    = 32
	celErrorsAtMost = 5
)

// condition is a compiled `when`.
type condition struct {
	text    string
	program cel.Program
}

// compiled is a condition or why it has none, kept by text: many rules share one.
type compiled struct {
	condition *condition
	issues    []issue
}

// issue is a complaint at a place inside an expression, from line 1 and column 1.
type issue struct {
	line, column int
	message      string
}

// celEnvironment is shared by all conditions. The variables are flat names, so that
// a misspelt one is a fault at load.
var celEnvironment = sync.OnceValues(func() (*cel.Env, error) {
	attributes := cel.MapType(cel.StringType, cel.ListType(cel.StringType))
	return cel.NewEnv(
		ext.Network(),
		cel.ParserRecursionLimit(maxRecursion),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.Variable("subject.name", cel.StringType),
		cel.Variable("subject.trust", cel.StringType),
		cel.Variable("subject.attributes", attributes),
		cel.Variable("actor.name", cel.StringType),
		cel.Variable("actor.trust", cel.StringType),
		cel.Variable("actor.attributes", attributes),
		cel.Variable("request.client_ip", ext.IPType),
		cel.Variable("request.target", cel.StringType),
		cel.Variable("request.scopes", cel.ListType(cel.StringType)),
		cel.Variable("request.lifetime", cel.DurationType),
		cel.Variable("request.reason", cel.StringType),
		cel.Variable("request.client", cel.StringType),
		cel.Variable("now", cel.TimestampType),
	)
})

// compileWhen compiles an expression; nil where it has a fault.
func (item listed) compileWhen(w whenFile, known map[string]compiled) *condition {
	c, ok := known[w.text]
	if !ok {
		c.condition, c.issues = compileCondition(w.text)
		known[w.text] = c
	}
	for _, i := range c.issues { // at each place where the text stands
		line, column := item.src.expressionPlace(w.at, i.line, i.column)
		*item.faults = append(*item.faults, item.src.at(line, column, "when: "+i.message))
	}
	return c.condition
}

func compileCondition(text string) (*condition, []issue) {
	one := func(message string) []issue { return []issue{{1, 1, message}} }
	if strings.TrimSpace(text) == "" {
		return nil, one("the expression is empty: leave the key out")
	}
	env, err := celEnvironment()
	if err != nil {
		return nil, one("the expression language cannot be set up: " + err.Error())
	}
	checked, problems := env.Compile(text)
	if problems.Err() != nil {
		var all []issue
		for _, e := range problems.Errors() {
			if len(all) < celErrorsAtMost {
				all = append(all, issue{max(1, e.Location.Line()), e.Location.Column() + 1, e.Message})
			}
		}
		return nil, all
	}
	if checked.OutputType() != cel.BoolType {
		return nil, one("the expression must be true or false; this one is of type " + checked.OutputType().String())
	}
	cost, err := env.EstimateCost(checked, sizes{})
	if err != nil {
		return nil, one("the cost of the expression cannot be estimated: " + err.Error())
	}
	if cost.Min > runCost || cost.Max > worstCost {
		return nil, one("the expression may take too long: make it simpler, above all loops inside loops")
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(runCost))
	if err != nil {
		return nil, one("the expression cannot be prepared: " + err.Error())
	}
	return &condition{text: text, program: program}, nil
}

// expressionPlace maps a place inside an expression to one in the file.
func (s *source) expressionPlace(n ast.Node, line, column int) (int, int) {
	at, left := place(n)
	if n.Type() != ast.LiteralType {
		if quote := s.byteAt(at, left); quote == '"' || quote == '\'' {
			left++
		}
		return at + line - 1, left + column - 1
	}
	// A block: the text begins on the next line, indented; `>` joins its lines.
	lines := s.lines()
	indent := 0
	if at < len(lines) {
		indent = len(lines[at]) - len(strings.TrimLeft(lines[at], " "))
	}
	if s.byteAt(at, left) == '>' {
		for at+line < len(lines) && column > len(lines[at+line-1])-indent+1 {
			column -= len(lines[at+line-1]) - indent + 1
			line++
		}
	}
	return at + line, indent + column
}

// byteAt is the byte at a line and column from 1; zero outside the text.
func (s *source) byteAt(line, column int) byte {
	lines := s.lines()
	if line < 1 || line > len(lines) || column < 1 || column > len(lines[line-1]) {
		return 0
	}
	return lines[line-1][column-1]
}

// sizes bounds what the estimate cannot know.
type sizes struct{}

// EstimateSize implements checker.CostEstimator.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	limit := uint64(assumedText)
	if path := n.Path(); len(path) > 0 && n.Type() != nil && n.Type().Kind() != cel.StringType.Kind() {
		limit = assumedValues
	}
	return &cost.SizeEstimate{Min: 0, Max: limit}
}

// EstimateCallCost implements checker.CostEstimator: no opinion.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// facts is what a condition looks at; it implements CEL's Activation.
type facts struct {
	question exchange.Question // a copy, so that questions without conditions stay off the heap
	target   string
	scopes   []string
	lifetime time.Duration
}

// errUndecided: the condition could not be evaluated; its rule decides what that
// means (S14).
var errUndecided = errors.New("the condition gave no answer")

// holds evaluates the condition. The error says why there is no answer.
func (c *condition) holds(f *facts) (bool, error) {
	value, _, err := c.program.Eval(f)
	if err != nil {
		return false, err
	}
	answer, ok := value.Value().(bool)
	if !ok {
		return false, errUndecided
	}
	return answer, nil
}

// Parent implements cel.Activation.
func (f *facts) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation. What the request does not have is not
// found, which is an error in the expression.
func (f *facts) ResolveName(name string) (any, bool) {
	q := &f.question
	var actor exchange.Actor
	if proven := provenActor(q); proven != nil {
		actor = *proven
	}
	switch name {
	case "subject.name":
		return q.Subject.Name, true
	case "subject.trust":
		return q.Subject.Trust, true
	case "subject.attributes":
		return map[string][]string(q.Subject.Attributes), true
	case "actor.name":
		return actor.Name, true
	case "actor.trust":
		return actor.Trust, true
	case "actor.attributes":
		return map[string][]string(actor.Attributes), true
	case "request.client_ip":
		ip := q.ClientIP.Unmap().WithZone("")
		return ip, ip.IsValid()
	case "request.target":
		return f.target, true
	case "request.scopes":
		return f.scopes, true
	case "request.lifetime":
		return f.lifetime, true
	case "request.reason":
		return q.Reason, true
	case "request.client":
		return q.Client, true
	case "now":
		return q.Now, true
	default:
		return nil, false
	}
}
