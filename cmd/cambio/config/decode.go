package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/cambio-sts/cambio/exchange"
)

// maxFile bounds cambio.yaml; maxDepth bounds its nesting.
const (
	maxFile  = 1 << 20
	maxDepth = 8
)

// place is where a value was given.
type place struct {
	line, column int
	env          string
}

// reader decodes one file into a Config and gathers every fault on the way.
type reader struct {
	file   string
	lines  [][]byte
	origin map[string]place
	hidden []string // text that no excerpt may show
	faults Faults
}

// decode fills c from source. The library's own strict mode stops at the first
// fault, so the tree is walked here.
func (r *reader) decode(source []byte, c *Config) {
	if len(source) > maxFile {
		r.faults = append(r.faults, Fault{File: r.file, Message: fmt.Sprintf("larger than %d bytes", maxFile)})
		return
	}
	r.lines = bytes.Split(source, []byte("\n"))
	tree, err := parser.ParseBytes(source, 0)
	if err != nil {
		r.syntax(err)
		return
	}
	switch len(tree.Docs) {
	case 0:
		return
	case 1:
	default:
		r.fault("", tree.Docs[1].Body, "one document only: what stands after --- would be forgotten")
		return
	}
	if body := tree.Docs[0].Body; body != nil {
		r.value("", body, reflect.ValueOf(c).Elem(), 0)
	}
}

// syntax reports what the parser could not read, without the parser's own excerpt,
// which might show a secret.
func (r *reader) syntax(err error) {
	f := Fault{File: r.file, Message: "not YAML"}
	var known yaml.Error
	if errors.As(err, &known) {
		f.Message = known.GetMessage()
		if t := known.GetToken(); t != nil {
			f.Line, f.Column = t.Position.Line, t.Position.Column
		}
	}
	if f.Line > 0 && f.Line <= len(r.lines) {
		f.Excerpt = r.excerpt(f.Line, f.Column, maskValues)
	}
	r.faults = append(r.faults, f)
}

// maskValues hides all of an unparsed line but its keys: nobody knows which of
// its words are secrets.
func maskValues(line string) string {
	return word.ReplaceAllStringFunc(line, func(w string) string {
		if strings.HasSuffix(w, ":") {
			return w
		}
		return strings.Repeat("*", min(len(w), 3))
	})
}

var word = regexp.MustCompile(`[^\s,{}\[\]"']+`)

func (r *reader) fault(key string, n ast.Node, format string, args ...any) {
	var t *token.Token
	if n != nil {
		t = n.GetToken()
	}
	f := Fault{Key: key, File: r.file, Message: fmt.Sprintf(format, args...)}
	if t != nil {
		f.Line, f.Column = t.Position.Line, t.Position.Column
	}
	r.faults = append(r.faults, f)
}

// value decodes a node into v by v's type.
func (r *reader) value(key string, n ast.Node, v reflect.Value, depth int) {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		r.fault(key, n, "anchors, aliases, merge keys and tags are not taken here")
		return
	case *ast.NullNode:
		return // an empty key is a key left out
	}
	if depth > maxDepth {
		r.fault(key, n, "nested too deeply")
		return
	}
	if key != "" {
		at := n.GetToken().Position
		r.origin[key] = place{line: at.Line, column: at.Column}
	}
	switch {
	case v.Kind() == reflect.Struct && v.Type() != secretType:
		if pairs, ok := r.pairs(key, n); ok {
			r.structure(key, pairs, v, depth)
		}
	case v.Kind() == reflect.Map:
		pairs, ok := r.pairs(key, n)
		if !ok {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for _, p := range pairs {
			name := p.Key.GetToken().Value
			element := reflect.New(v.Type().Elem()).Elem()
			r.value(join(key, name), p.Value, element, depth+1)
			v.SetMapIndex(reflect.ValueOf(name), element)
		}
	case v.Kind() == reflect.Slice:
		r.sequence(key, n, v)
	default:
		r.scalar(key, n, v)
	}
}

func (r *reader) pairs(key string, n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	r.hide(n)
	r.fault(key, n, "keys and values are expected here, not %s", kindOf(n))
	return nil, false
}

func (r *reader) structure(key string, pairs []*ast.MappingValueNode, v reflect.Value, depth int) {
	fields := fieldsOf(v.Type())
	for _, p := range pairs {
		name := p.Key.GetToken().Value
		if _, merge := p.Key.(*ast.MergeKeyNode); merge {
			r.fault(join(key, name), p.Key, "anchors, aliases, merge keys and tags are not taken here")
			continue
		}
		i, ok := fields.index[name]
		if !ok {
			r.hide(p.Value) // it may be a secret under a misspelt name
			r.fault(join(key, name), p.Key, "%s", unknown(name, fields.names))
			continue
		}
		r.value(join(key, name), p.Value, v.Field(i), depth+1)
	}
}

func (r *reader) sequence(key string, n ast.Node, v reflect.Value) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		r.hide(n)
		r.fault(key, n, "a list is expected here, not %s", kindOf(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values))
	for i, item := range list.Values {
		r.scalar(fmt.Sprintf("%s[%d]", key, i), item, out.Index(i))
	}
	v.Set(out)
}

func (r *reader) scalar(key string, n ast.Node, v reflect.Value) {
	at := n.GetToken().Position
	r.origin[key] = place{line: at.Line, column: at.Column}
	var text string
	switch s := n.(type) {
	case *ast.StringNode:
		text = s.Value
	case *ast.LiteralNode:
		text = s.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		text = n.GetToken().Value
	default:
		r.hide(n)
		r.fault(key, n, "one value is expected here, not %s", kindOf(n))
		return
	}
	if v.Type() == secretType {
		r.hide(n)
	}
	if err := setText(v, text); err != nil {
		r.fault(key, n, "%s", err)
	}
}

// hide keeps every scalar below n out of excerpts.
func (r *reader) hide(n ast.Node) {
	switch m := n.(type) {
	case *ast.MappingNode:
		for _, p := range m.Values {
			r.hide(p.Value)
		}
	case *ast.MappingValueNode:
		r.hide(m.Value)
	case *ast.SequenceNode:
		for _, item := range m.Values {
			r.hide(item)
		}
	case *ast.LiteralNode:
		r.hidden = append(r.hidden, strings.Split(m.Value.Value, "\n")...)
	default:
		if t := n.GetToken(); t != nil && !isReference(t.Value) {
			r.hidden = append(r.hidden, t.Value, strings.TrimSpace(t.Origin))
		}
	}
}

// excerpts gives each fault its line. It runs last, when all that must not be
// shown is known.
func (r *reader) excerpts() {
	slices.SortFunc(r.hidden, func(a, b string) int { return len(b) - len(a) })
	for i := range r.faults {
		f := &r.faults[i]
		if f.Line < 1 || f.Line > len(r.lines) || f.Excerpt != "" {
			continue
		}
		f.Excerpt = r.excerpt(f.Line, f.Column, r.mask)
	}
}

// excerpt is one line of the file with a caret below the column, or nothing where
// the line is too long to be of help.
func (r *reader) excerpt(number, column int, mask func(string) string) string {
	line := strings.TrimRight(string(r.lines[number-1]), "\r")
	caret := min(max(column-1, 0), len(line))
	before, after := mask(line[:caret]), mask(line[caret:])
	if len(before)+len(after) > 200 {
		return ""
	}
	margin := fmt.Sprintf("%5d | ", number)
	blank := strings.Map(func(c rune) rune {
		if c == '\t' {
			return c
		}
		return ' '
	}, before)
	return margin + before + after + "\n" + strings.Repeat(" ", len(margin)) + blank + "^"
}

func (r *reader) mask(text string) string {
	for _, h := range r.hidden {
		if h != "" {
			text = strings.ReplaceAll(text, h, "REDACTED")
		}
	}
	return text
}

var secretType = reflect.TypeFor[exchange.Secret]()

// fields are the keys of a struct, in order.
type fields struct {
	names []string
	index map[string]int
}

func fieldsOf(t reflect.Type) fields {
	f := fields{index: map[string]int{}}
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("yaml")
		if name == "" || name == "-" {
			continue
		}
		f.names = append(f.names, name)
		f.index[name] = i
	}
	return f
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	case *ast.SequenceNode:
		return "a list"
	}
	return "one value"
}
