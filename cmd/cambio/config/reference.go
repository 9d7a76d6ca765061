package config

import (
	_ "embed"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"sync"
)

// manual is the source of the struct, whose comments are the reference.
//
//go:embed config.go
var manual string

// Key is one setting as the reference shows it.
type Key struct {
	Path     string // dotted
	Variable string // its environment variable
	Default  string // empty: none
	Text     string // meaning, on one line
}

// Keyring lists every key in the order of cambio.yaml, with the comments of
// config.go.
var Keyring = sync.OnceValue(func() []Key {
	comments := map[string]map[string]string{}
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", manual, parser.ParseComments)
	if err != nil {
		panic(err) // it compiled a moment ago
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			texts := map[string]string{}
			for _, f := range s.Fields.List {
				for _, name := range f.Names {
					texts[name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
				}
			}
			comments[spec.Name.Name] = texts
		}
		return false
	})
	return keysOf("", reflect.TypeFor[Config](), comments)
})

func keysOf(path string, t reflect.Type, comments map[string]map[string]string) []Key {
	var keys []Key
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		if name == "" || name == "-" {
			continue
		}
		inner := f.Type
		key := join(path, name)
		if inner.Kind() == reflect.Map {
			inner, key = inner.Elem(), key+".<name>"
		}
		if inner.Kind() == reflect.Struct && inner != secretType {
			keys = append(keys, keysOf(key, inner, comments)...)
			continue
		}
		keys = append(keys, Key{
			Path: key, Variable: Variable(key),
			Default: f.Tag.Get("default"), Text: comments[t.Name()][f.Name],
		})
	}
	return keys
}
