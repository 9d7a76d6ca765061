package strictyaml

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const (
	maxFile  = 1 << 20 // bytes
	maxDepth = 32
)

// place is where a value stands, counted from one.
type place struct{ line, column int }

// Document is a file that was decoded. It knows where each key stands, for faults that
// are found later.
type Document struct {
	file   string
	places map[string]place
	faults Faults
}

// Decode reads the one document in source into the struct that v points to, by its
// `yaml` tags, and gathers every fault on the way: keys that v does not have, values of
// the wrong kind, keys given twice. Anchors, aliases, tags and merge keys are faults. A
// null leaves its key out. What decodes itself (yaml.InterfaceUnmarshaler and its like)
// gives one fault at most. file is for the messages.
func Decode(file string, source []byte, v any) *Document {
	d := &Document{file: file, places: map[string]place{}}
	if len(source) > maxFile {
		d.faults = append(d.faults, Fault{File: file, Message: fmt.Sprintf("larger than %d bytes", maxFile)})
		return d
	}
	tree, err := parser.ParseBytes(source, 0)
	if err != nil {
		d.library("", nil, err)
		return d
	}
	switch len(tree.Docs) {
	case 0:
		return d
	case 1:
	default:
		d.fault("", tree.Docs[1].Body, "one document only: what stands after --- would be forgotten")
		return d
	}
	if body := tree.Docs[0].Body; body != nil {
		d.value("", body, reflect.ValueOf(v).Elem(), 0)
	}
	return d
}

// Faults are what is wrong, in the order of the file.
func (d *Document) Faults() Faults {
	slices.SortStableFunc(d.faults, func(a, b Fault) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return d.faults
}

// Reject adds a fault that a later check found, at the place of its key or, where the
// key is not in the file, of what it belongs to.
func (d *Document) Reject(key, message string) {
	f := Fault{Key: key, File: d.file, Message: message}
	for at := key; at != ""; at = parent(at) {
		if p, ok := d.places[at]; ok {
			f.Line, f.Column = p.line, p.column
			break
		}
	}
	d.faults = append(d.faults, f)
}

// Has reports whether a key was given.
func (d *Document) Has(key string) bool {
	_, ok := d.places[key]
	return ok
}

func parent(key string) string {
	return key[:max(strings.LastIndexAny(key, ".["), 0)]
}

func (d *Document) fault(key string, n ast.Node, format string, args ...any) {
	f := Fault{Key: key, File: d.file, Message: fmt.Sprintf(format, args...)}
	if n != nil {
		if t := n.GetToken(); t != nil && t.Position != nil {
			f.Line, f.Column = t.Position.Line, t.Position.Column
		}
	}
	d.faults = append(d.faults, f)
}

// library reports what the YAML library, or a type that decodes itself, found; without
// the library's excerpt of the file.
func (d *Document) library(key string, n ast.Node, err error) {
	d.fault(key, n, "%s", "not YAML")
	f := &d.faults[len(d.faults)-1]
	var known yaml.Error
	if !errors.As(err, &known) {
		if key != "" {
			f.Message = err.Error()
		}
		return
	}
	f.Message = known.GetMessage()
	if t := known.GetToken(); t != nil && t.Position != nil {
		f.Line, f.Column = t.Position.Line, t.Position.Column
	}
}

func (d *Document) note(key string, n ast.Node) {
	if t := n.GetToken(); key != "" && t != nil && t.Position != nil {
		d.places[key] = place{t.Position.Line, t.Position.Column}
	}
}

const plain = "anchors, aliases, merge keys and tags are not taken here"

// value decodes a node into v by v's type.
func (d *Document) value(key string, n ast.Node, v reflect.Value, depth int) {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.fault(key, n, plain)
		return
	case *ast.NullNode:
		if v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct {
			// `door:` with nothing behind it is that door with its defaults.
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.note(key, n)
		return
	}
	if depth > maxDepth {
		d.fault(key, n, "nested too deeply")
		return
	}
	if !d.Has(key) {
		d.note(key, n)
	}
	switch {
	case decodesItself(v):
		if err := yaml.NodeToValue(n, v.Addr().Interface(), yaml.Strict()); err != nil {
			d.library(key, n, err)
		}
	case isText(v):
		d.scalar(key, n, v)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(key, n, v.Elem(), depth)
	case v.Kind() == reflect.Struct:
		d.structure(key, n, v, depth)
	case v.Kind() == reflect.Map:
		d.mapping(key, n, v, depth)
	case v.Kind() == reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			d.fault(key, n, "a list is expected here, not %s", kindOf(n))
			return
		}
		out := reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values))
		for i, item := range list.Values {
			d.value(fmt.Sprintf("%s[%d]", key, i), item, out.Index(i), depth+1)
		}
		v.Set(out)
	default:
		d.scalar(key, n, v)
	}
}

func (d *Document) structure(key string, n ast.Node, v reflect.Value, depth int) {
	pairs, ok := d.pairs(key, n)
	if !ok {
		return
	}
	known := fieldsOf(v.Type())
	for name, p := range d.keys(key, pairs) {
		field, ok := known.index[name]
		if !ok {
			d.fault(join(key, name), p.Key, "%s", unknown(name, known.names))
			continue
		}
		d.value(join(key, name), p.Value, v.FieldByIndex(field), depth+1)
	}
}

func (d *Document) mapping(key string, n ast.Node, v reflect.Value, depth int) {
	pairs, ok := d.pairs(key, n)
	if !ok {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for name, p := range d.keys(key, pairs) {
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(join(key, name), p.Value, element, depth+1)
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), element)
	}
}

// keys yields the pairs by name, in order, and rejects those that are no plain keys, or
// were given before. The place of a key is where its name stands.
func (d *Document) keys(key string, pairs []*ast.MappingValueNode) func(func(string, *ast.MappingValueNode) bool) {
	return func(yield func(string, *ast.MappingValueNode) bool) {
		seen := map[string]bool{}
		for _, p := range pairs {
			name := ""
			switch k := p.Key.(type) {
			case *ast.StringNode:
				name = k.Value
			case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
				name = k.GetToken().Value
			default:
				d.fault(key, p.Key, plain)
				continue
			}
			if seen[name] {
				d.fault(join(key, name), p.Key, "given twice")
				continue
			}
			seen[name] = true
			d.note(join(key, name), p.Key)
			if !yield(name, p) {
				return
			}
		}
	}
}

func (d *Document) pairs(key string, n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	d.fault(key, n, "keys and values are expected here, not %s", kindOf(n))
	return nil, false
}

func (d *Document) scalar(key string, n ast.Node, v reflect.Value) {
	var text string
	switch s := n.(type) {
	case *ast.StringNode:
		text = s.Value
	case *ast.LiteralNode:
		text = s.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		text = n.GetToken().Value
	default:
		d.fault(key, n, "one value is expected here, not %s", kindOf(n))
		return
	}
	if err := setText(v, text); err != nil {
		d.fault(key, n, "%s", err)
	}
}

// decodesItself reports whether a type has its own way with YAML, or takes anything.
func decodesItself(v reflect.Value) bool {
	if v.Kind() == reflect.Interface {
		return true
	}
	switch v.Addr().Interface().(type) {
	case yaml.InterfaceUnmarshaler, yaml.InterfaceUnmarshalerContext, yaml.BytesUnmarshaler,
		yaml.BytesUnmarshalerContext, yaml.NodeUnmarshaler, yaml.NodeUnmarshalerContext:
		return true
	}
	return false
}

func isText(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

// fields are the keys of a struct, in order; those of an inlined struct are its own.
type fields struct {
	names []string
	index map[string][]int
}

func fieldsOf(t reflect.Type) fields {
	f := fields{index: map[string][]int{}}
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if options == "inline" {
			inner := fieldsOf(t.Field(i).Type)
			for _, name := range inner.names {
				f.names = append(f.names, name)
				f.index[name] = append([]int{i}, inner.index[name]...)
			}
			continue
		}
		if name == "" || name == "-" {
			continue
		}
		f.names = append(f.names, name)
		f.index[name] = []int{i}
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
