package api

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// words are the fields whose values are a closed set; naming another finds a slip
// of the pen instead of nothing.
var words = map[ledger.Field][]string{
	ledger.FieldOutcome: {
		exchange.EventIssued.String(), exchange.EventDenied.String(),
		exchange.EventFailed.String(), exchange.EventUnknown.String(),
	},
	ledger.FieldErrorKind: func() []string {
		var names []string
		for _, k := range exchange.Kinds() {
			names = append(names, k.String())
		}
		return names
	}(),
}

func (f *filterText) comparison(op ledger.Op, sign string, left, right *expr.Expr) (*ledger.Node, error) {
	field := ledger.Field(left.GetIdentExpr().GetName())
	if !slices.Contains(ledger.Fields(), field) {
		names := make([]string, 0, 16)
		for _, known := range ledger.Fields() {
			names = append(names, string(known))
		}
		return nil, f.fault(f.at(left), "expected one of the fields %s, without quotes", strings.Join(names, ", "))
	}
	if field == ledger.FieldTime {
		return f.moment(op, right)
	}
	value, err := f.value(field, right)
	if err != nil {
		return nil, err
	}
	out := &ledger.Node{Op: op, Field: field, Value: ledger.Value{Text: value}}
	ordered := op == ledger.OpLt || op == ledger.OpLe || op == ledger.OpGt || op == ledger.OpGe
	switch {
	case ordered && field != ledger.FieldExchange:
		return nil, f.fault(f.at(left), "%s orders time and exchange only; %s takes =, != and :", sign, field)
	case op == ledger.OpHas && value == "*" && f.unquoted(right): // AIP-160: is there one
		out.Op, out.Value.Text = ledger.OpNe, ""
		return out, nil
	case op == ledger.OpHas && value == "":
		return nil, f.fault(f.at(right), `every value contains the empty text; ask %s:* or %s = ""`, field, field)
	case op == ledger.OpHas && field == ledger.FieldExchange:
		return nil, f.fault(f.at(left), "an exchange is found by its whole id: use =")
	case field == ledger.FieldExchange:
		if _, err := exchange.ParseID(value); err != nil {
			return nil, f.fault(f.at(right), "%s", err)
		}
	case op != ledger.OpHas && value != "" && words[field] != nil && !slices.Contains(words[field], value):
		return nil, f.fault(f.at(right), "%s is one of %s", field, strings.Join(words[field], ", "))
	}
	return out, nil
}

// unquoted tells x:* from x:"*", which the parser makes alike.
func (f *filterText) unquoted(e *expr.Expr) bool {
	at := f.at(e)
	return at < len(f.text) && f.text[at] != '"' && f.text[at] != '\''
}

// value takes a quoted text, or a bare word.
func (f *filterText) value(field ledger.Field, e *expr.Expr) (string, error) {
	var text string
	switch kind := e.GetExprKind().(type) {
	case *expr.Expr_ConstExpr:
		s, ok := kind.ConstExpr.GetConstantKind().(*expr.Constant_StringValue)
		if !ok {
			return "", f.fault(f.at(e), "%s is text: put the value in quotes", field)
		}
		text = s.StringValue
	case *expr.Expr_IdentExpr:
		text = kind.IdentExpr.GetName()
	default:
		return "", f.fault(f.at(e), "%s is text: put the value in quotes", field)
	}
	if !utf8.ValidString(text) || hasControl(text) { // escapes can make either
		return "", f.fault(f.at(e), "a value is one line of UTF-8 text, without control characters")
	}
	return text, nil
}

// moment takes timestamp("…"), or the text by itself.
func (f *filterText) moment(op ledger.Op, e *expr.Expr) (*ledger.Node, error) {
	const expected = `expected a moment in RFC 3339, such as timestamp("2026-11-01T00:00:00Z")`
	if op == ledger.OpHas {
		return nil, f.fault(f.at(e), "every exchange has a time: compare it, as in time >= ...; %s", expected)
	}
	text := e
	if call := e.GetCallExpr(); call.GetFunction() == filtering.FunctionTimestamp && len(call.GetArgs()) == 1 {
		text = call.GetArgs()[0]
	}
	s, ok := text.GetConstExpr().GetConstantKind().(*expr.Constant_StringValue)
	if !ok {
		return nil, f.fault(f.at(e), expected)
	}
	moment, err := time.Parse(time.RFC3339Nano, s.StringValue)
	if err != nil || moment.Year() < 1 || moment.Year() > 9999 {
		return nil, f.fault(f.at(text), expected)
	}
	return &ledger.Node{Op: op, Field: ledger.FieldTime, Value: ledger.Value{Time: moment.UnixMicro()}}, nil
}
