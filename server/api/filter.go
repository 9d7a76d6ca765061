package api

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/server"
)

// maxFilter bounds the text of a filter, in bytes. What becomes of it has the
// bounds of the ledger.
const maxFilter = 2048

// parseFilter reads AIP-160 into the ledger's own tree. Syntax is the library's;
// meaning is ours, since its checker cannot say where a fault stands. Faults are
// invalid_request with the character and what was expected.
func parseFilter(text string) (ledger.Filter, error) {
	if strings.TrimSpace(text) == "" {
		return ledger.Filter{}, nil
	}
	if len(text) > maxFilter {
		return ledger.Filter{}, server.Invalid(fmt.Sprintf("filter is too long: %d bytes at most", maxFilter))
	}
	// The parser trims what it is given; trimming here keeps its offsets ours.
	f := &filterText{text: strings.TrimSpace(text)}
	f.indent = utf8.RuneCountInString(text[:strings.Index(text, f.text)])
	if err := f.checkNesting(); err != nil {
		return ledger.Filter{}, err
	}
	var parser filtering.Parser
	parser.Init(f.text)
	parsed, err := parser.Parse()
	if err != nil {
		return ledger.Filter{}, f.syntaxFault(err)
	}
	f.positions = parsed.GetSourceInfo().GetPositions()
	root, err := f.node(parsed.GetExpr())
	if err != nil {
		return ledger.Filter{}, err
	}
	if nodes, depth := measure(root); nodes > ledger.MaxNodes || depth > ledger.MaxDepth {
		return ledger.Filter{}, server.Invalid(fmt.Sprintf("filter is too large: %d comparisons, AND, OR and NOT counted, and %d levels at most", ledger.MaxNodes, ledger.MaxDepth))
	}
	return ledger.Filter{Root: root}, nil
}

// filterText is one filter on its way.
type filterText struct {
	text      string
	indent    int // characters of white space trimmed before it
	positions map[int64]int32
}

// fault names the character (from 1) at a byte offset.
func (f *filterText) fault(offset int, format string, args ...any) error {
	offset = min(max(offset, 0), len(f.text))
	character := f.indent + utf8.RuneCountInString(f.text[:offset]) + 1
	return server.Invalid(fmt.Sprintf("filter, character %d: %s", character, fmt.Sprintf(format, args...)))
}

func (f *filterText) at(e *expr.Expr) int { return int(f.positions[e.GetId()]) }

// checkNesting bounds the parser's recursion before it begins. What is a parenthesis
// and what is text is the lexer's to say: a quote within a word, for one, opens no
// string.
func (f *filterText) checkNesting() error {
	var lexer filtering.Lexer
	lexer.Init(f.text)
	for depth := 0; ; {
		token, err := lexer.Lex()
		if err != nil {
			return nil // its end, or what the parser will complain of
		}
		switch token.Type {
		case filtering.TokenTypeLeftParen:
			if depth++; depth > ledger.MaxDepth {
				return f.fault(int(token.Position.Offset), "parentheses are nested too deep: %d levels at most", ledger.MaxDepth)
			}
		case filtering.TokenTypeRightParen:
			depth--
		}
	}
}

// grammar is what syntax faults remind of.
const grammar = `expected comparisons such as target = "bedrock", joined by AND or OR; values with more than letters, digits and underscores need quotes`

// syntaxFault finds the innermost of the parser's errors, which stands nearest to
// what is wrong.
func (f *filterText) syntaxFault(err error) error {
	offset := 0
	message := ""
	for e := err; e != nil; e = errors.Unwrap(e) {
		if p, ok := e.(interface {
			Position() filtering.Position
			Message() string
		}); ok {
			offset, message = int(p.Position().Offset), p.Message()
		}
	}
	if errors.Is(err, io.EOF) || offset >= len(f.text) {
		return f.fault(len(f.text), "the filter ends too early; %s", grammar)
	}
	if message == "unterminated string" || message == "invalid UTF-8" {
		return f.fault(offset, "%s", message)
	}
	return f.fault(offset, "%q was not expected here; %s", f.token(offset), grammar)
}

// token is the word or the sign at an offset, for messages.
func (f *filterText) token(offset int) string {
	const most = 32
	rest := f.text[offset:]
	end := strings.IndexAny(rest, " \t\n\r()=<>!:,\"'")
	if end < 0 {
		end = len(rest)
	}
	_, first := utf8.DecodeRuneInString(rest)
	return shorten(rest[:max(end, first)], most)
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// node translates one expression.
func (f *filterText) node(e *expr.Expr) (*ledger.Node, error) {
	call := e.GetCallExpr()
	if call == nil {
		return nil, f.fault(f.at(e), "a value by itself says nothing; %s", grammar)
	}
	// A caller may write a function by an operator's name, with any number of
	// arguments: the parser gives it out as that operator.
	name, args := call.GetFunction(), call.GetArgs()
	op, comparison := comparators[name]
	switch {
	case name == filtering.FunctionAnd && len(args) == 2:
		return f.combine(args, ledger.OpAnd)
	case name == filtering.FunctionOr && len(args) == 2:
		return f.combine(args, ledger.OpOr)
	case name == filtering.FunctionNot && len(args) == 1:
		operand, err := f.node(args[0])
		if err != nil {
			return nil, err
		}
		return &ledger.Node{Op: ledger.OpNot, Nodes: []*ledger.Node{operand}}, nil
	case name == filtering.FunctionFuzzyAnd && len(args) == 2:
		return nil, f.fault(f.at(args[1]), "expected AND or OR between two comparisons")
	case comparison && len(args) == 2:
		return f.comparison(op, name, args[0], args[1])
	}
	return nil, f.fault(f.at(e), "%q is not a comparison; %s", shorten(name, 32), grammar)
}

var comparators = map[string]ledger.Op{
	filtering.FunctionEquals: ledger.OpEq, filtering.FunctionNotEquals: ledger.OpNe,
	filtering.FunctionLessThan: ledger.OpLt, filtering.FunctionLessEquals: ledger.OpLe,
	filtering.FunctionGreaterThan: ledger.OpGt, filtering.FunctionGreaterEquals: ledger.OpGe,
	filtering.FunctionHas: ledger.OpHas,
}

// combine gathers a chain of one operator, which the parser leans to the left,
// into one node.
func (f *filterText) combine(args []*expr.Expr, op ledger.Op) (*ledger.Node, error) {
	out := &ledger.Node{Op: op}
	for _, arg := range args {
		n, err := f.node(arg)
		if err != nil {
			return nil, err
		}
		if n.Op == op {
			out.Nodes = append(out.Nodes, n.Nodes...)
		} else {
			out.Nodes = append(out.Nodes, n)
		}
	}
	return out, nil
}

// measure counts a tree as the engines do.
func measure(n *ledger.Node) (nodes, depth int) {
	for _, each := range n.Nodes {
		count, below := measure(each)
		nodes, depth = nodes+count, max(depth, below)
	}
	return nodes + 1, depth + 1
}
