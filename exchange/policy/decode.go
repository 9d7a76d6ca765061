package policy

import (
	"encoding"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// decoder turns nodes into Go values strictly, and goes on after a fault, so that
// one run finds all. It walks structs, maps and lists itself, since the YAML
// library stops at the first unknown key, and leaves scalars to that library.
type decoder struct {
	src    *source
	faults *Faults
}

// nodeDecoder is a type with a syntax of its own.
type nodeDecoder interface {
	decodeNode(d *decoder, n ast.Node)
}

func (d *decoder) fault(n ast.Node, format string, args ...any) {
	*d.faults = append(*d.faults, d.src.fault(n, format, args...))
}

// into decodes n into the value that v points to.
func (d *decoder) into(n ast.Node, v any) {
	d.decode(n, reflect.ValueOf(v).Elem())
}

func (d *decoder) decode(n ast.Node, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		d.decode(n, fresh.Elem())
		v.Set(fresh)
		return
	}
	if own, ok := v.Addr().Interface().(nodeDecoder); ok {
		own.decodeNode(d, n)
		return
	}
	if isNull(n) {
		d.fault(n, "a value is missing here: write one, or leave the key out")
		return
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		v.SetInt(int64(d.duration(n)))
		return
	}
	switch v.Addr().Interface().(type) {
	case yaml.InterfaceUnmarshaler, yaml.BytesUnmarshaler, encoding.TextUnmarshaler:
		d.library(n, v)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, nil)
	case reflect.Map:
		d.mapping(n, v)
	case reflect.Slice:
		d.list(n, v)
	case reflect.String:
		if text, ok := d.text(n); ok {
			v.SetString(text)
		}
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
		} else {
			d.fault(n, "true or false is wanted here")
		}
	default:
		d.library(n, v)
	}
}

// library leaves a value to the YAML library, which is as strict.
func (d *decoder) library(n ast.Node, v reflect.Value) {
	if err := yaml.NodeToValue(n, v.Addr().Interface(), yaml.Strict()); err != nil {
		f := d.src.yamlFault(err)
		if f.Line == 0 {
			f = d.src.fault(n, "%s", f.Message)
		}
		*d.faults = append(*d.faults, f)
	}
}

// structure decodes a map whose keys are known. Keys that skip names are not
// looked at.
func (d *decoder) structure(n ast.Node, v reflect.Value, skip map[string]bool) {
	fields := map[string]reflect.Value{}
	collectFields(v, fields)
	for _, e := range d.entries(n, "key") {
		if skip[e.key] {
			continue
		}
		field, ok := fields[e.key]
		if !ok {
			names := make([]string, 0, len(fields))
			for name := range fields {
				names = append(names, name)
			}
			d.fault(e.at, "unknown key %q: %s", e.key, didYouMean(e.key, names))
			continue
		}
		d.decode(e.value, field)
	}
}

// collectFields lists a struct's settable fields by their YAML names, those of
// embedded structs among them.
func collectFields(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
		case f.Type.Kind() == reflect.Struct && (strings.Contains(options, "inline") || f.Anonymous && name == ""):
			collectFields(v.Field(i), into)
		case name != "":
			into[name] = v.Field(i)
		default:
			into[strings.ToLower(f.Name)] = v.Field(i)
		}
	}
}

func (d *decoder) mapping(n ast.Node, v reflect.Value) {
	if v.Type().Key().Kind() != reflect.String {
		d.library(n, v)
		return
	}
	entries := d.entries(n, "key")
	v.Set(reflect.MakeMapWithSize(v.Type(), len(entries)))
	for _, e := range entries {
		value := reflect.New(v.Type().Elem()).Elem()
		d.decode(e.value, value)
		v.SetMapIndex(reflect.ValueOf(e.key).Convert(v.Type().Key()), value)
	}
}

func (d *decoder) list(n ast.Node, v reflect.Value) {
	items := d.items(n)
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.decode(item, out.Index(i))
	}
	v.Set(out)
}

// items are the nodes of a list.
func (d *decoder) items(n ast.Node) []ast.Node {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fault(n, "a list is wanted here: [a, b], or one `- item` a line")
		return nil
	}
	return list.Values
}

// entry is one key of a map with its value.
type entry struct {
	key   string
	at    ast.Node // the key's place
	value ast.Node
}

// entries are the keys and values of a map in order. A key that comes twice is a
// fault and is left out the second time. what names a key in messages.
func (d *decoder) entries(n ast.Node, what string) []entry {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		d.fault(n, "a map is wanted here: {key: value}, or one `key: value` a line")
		return nil
	}
	seen := make(map[string]int, len(values))
	out := make([]entry, 0, len(values))
	for _, v := range values {
		key, ok := keyText(v.Key)
		if !ok {
			d.fault(v.Key, "a %s is a text: put it in quotes", what)
			continue
		}
		line, _ := place(v.Key)
		if first, twice := seen[key]; twice {
			d.fault(v.Key, "%s %q stands on line %d already", what, key, first)
			continue
		}
		seen[key] = line
		out = append(out, entry{key: key, at: v.Key, value: v.Value})
	}
	return out
}

func keyText(n ast.Node) (string, bool) {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value, true
	}
	return "", false
}

// text is a scalar that is a text as it stands. A number is not one: 0123 would
// come out as 83.
func (d *decoder) text(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case ast.ScalarNode:
		d.fault(n, "a text is wanted here: put it in quotes")
	default:
		d.fault(n, "a text is wanted here")
	}
	return "", false
}

func (d *decoder) duration(n ast.Node) time.Duration {
	s, ok := n.(*ast.StringNode)
	if ok {
		if v, err := time.ParseDuration(s.Value); err == nil && v >= 0 {
			return v
		}
	}
	d.fault(n, "a duration is wanted here, such as 30s, 15m or 1h30m")
	return 0
}

func isNull(n ast.Node) bool { return n == nil || n.Type() == ast.NullType }
