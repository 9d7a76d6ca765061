package subject

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ohler55/ojg/jp"

	"github.com/cambio-sts/cambio/exchange"
)

// Bounds on what a token may bring into a decision, and into the ledger. A token
// over the first two is refused, never cut: a missing group could be the one that
// a deny names.
const (
	maxValues      = 1024 // of one attribute
	maxValueBytes  = 512
	maxRecordBytes = 4096 // of all recorded values; what is over is counted, not kept
)

// mappedClaim is an attribute and where its values stand.
type mappedClaim struct {
	attribute string
	path      jp.Expr
}

// compileClaims compiles the paths (RFC 9535). The error names the attribute.
func compileClaims(paths map[string]string) ([]mappedClaim, error) {
	var out []mappedClaim
	for attribute, path := range paths {
		compiled, err := compilePath(path)
		if err != nil {
			return nil, fmt.Errorf("claims.%s: %w", attribute, err)
		}
		out = append(out, mappedClaim{attribute, compiled})
	}
	slices.SortFunc(out, func(a, b mappedClaim) int { return strings.Compare(a.attribute, b.attribute) })
	return out, nil
}

func compilePath(path string) (jp.Expr, error) {
	if !strings.HasPrefix(path, "$") {
		return nil, fmt.Errorf("%q is not a JSON path: it must begin with $ (RFC 9535 §2.2)", path)
	}
	compiled, err := jp.ParseString(path)
	if err != nil {
		return nil, fmt.Errorf("%q is not a JSON path: %w", path, err)
	}
	for _, fragment := range compiled {
		if _, script := fragment.(*jp.Proc); script {
			return nil, fmt.Errorf("%q holds a script, which is not of RFC 9535", path)
		}
	}
	return compiled, nil
}

// mapClaims adds the attributes that the trust maps. A mapped attribute takes the
// place of the one that its kind would give; where the path finds nothing, there
// is none.
func (t *trust) mapClaims(all map[string]any, into exchange.Attributes) error {
	for _, m := range t.mapped {
		var values []string
		present := false
		for _, found := range m.path.Get(all) {
			present = present || found != nil
			var err error
			if values, err = appendValues(values, found); err != nil {
				return exchange.Fault(exchange.KindInvalidSubject, "a claim of the token has values that cannot be used here", fmt.Errorf("attribute %s: %w", m.attribute, err))
			}
		}
		delete(into, m.attribute)
		if present { // an empty array is an attribute without values, and no missing claim (S14)
			slices.Sort(values) // paths with wildcards find members in any order
			into[m.attribute] = slices.Compact(values)
		}
	}
	return nil
}

// appendValues turns a string, number, boolean, or an array of them into values;
// null is no value.
func appendValues(values []string, found any) ([]string, error) {
	if list, ok := found.([]any); ok {
		for _, e := range list {
			if _, nested := e.([]any); nested {
				return nil, fmt.Errorf("an array in an array")
			}
			var err error
			if values, err = appendValues(values, e); err != nil {
				return nil, err
			}
		}
		return values, nil
	}
	var s string
	switch v := found.(type) {
	case nil:
		return values, nil
	case string:
		s = v
	case bool:
		s = strconv.FormatBool(v)
	case int64:
		s = strconv.FormatInt(v, 10)
	case float64:
		s = strconv.FormatFloat(v, 'f', -1, 64)
	case json.Number:
		s = v.String()
	default:
		return nil, fmt.Errorf("an object where a string is expected")
	}
	if len(s) > maxValueBytes {
		return nil, fmt.Errorf("a value longer than %d bytes", maxValueBytes)
	}
	if len(values) == maxValues {
		return nil, fmt.Errorf("more than %d values", maxValues)
	}
	return append(values, s), nil
}

// record takes out the attributes that the ledger keeps.
func (t *trust) record(from exchange.Attributes) exchange.Attributes {
	if len(t.Record) == 0 {
		return nil
	}
	out := exchange.Attributes{}
	left := maxRecordBytes
	for _, name := range t.Record {
		values := from[name]
		for i, v := range values {
			if left -= len(v); left < 0 {
				out[name] = append(out[name], fmt.Sprintf("and %d more", len(values)-i))
				return out
			}
			out[name] = append(out[name], v)
		}
	}
	return out
}
