package policy

import (
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
)

// Schema is the JSON Schema (draft 2020-12) of a policy file, with the settings of
// every provider kind, for editors to complete and check by. What a schema cannot
// say (names that must exist, CEL) is left to Load.
func Schema(p Providers) ([]byte, error) {
	whole := reflector().Reflect(&file{})
	whole.ID = ""
	whole.Title = "Cambio policy file"
	settings := jsonschema.NewProperties()
	kinds := slices.Sorted(slices.Values(p.Kinds()))
	for _, kind := range kinds {
		zero, ok := p.New(kind)
		if !ok {
			return nil, fmt.Errorf("provider %q is listed and not known", kind)
		}
		r := reflector()
		r.RequiredFromJSONSchemaTags = true
		one := r.Reflect(zero)
		for name, definition := range one.Definitions {
			if name != kind {
				whole.Definitions[kind+"."+name] = definition
			}
		}
		// A setting that a target leaves out may stand under defaults.
		one.Required = nil
		one.Definitions, one.Version, one.ID = nil, "", ""
		reroot(one, kind)
		settings.Set(kind, one)
	}
	for name, definition := range whole.Definitions {
		if kind, _, ok := strings.Cut(name, "."); ok {
			reroot(definition, kind)
		}
	}
	one := uint64(1)
	whole.Definitions["target"] = &jsonschema.Schema{
		Type: "object", Properties: settings, AdditionalProperties: jsonschema.FalseSchema, MinProperties: &one, MaxProperties: &one,
	}
	whole.Definitions["defaults"] = &jsonschema.Schema{
		Type: "object", Properties: settings, AdditionalProperties: jsonschema.FalseSchema,
	}
	text, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the schema: %w", err)
	}
	return append(text, '\n'), nil
}

func reflector() *jsonschema.Reflector {
	return &jsonschema.Reflector{
		Anonymous: true, ExpandedStruct: true, FieldNameTag: "yaml",
		KeyNamer: func(name string) string {
			if strings.ToLower(name) != name { // an untagged field, named as the decoder names it
				return strings.ToLower(name)
			}
			return name
		},
		Namer: func(t reflect.Type) string {
			if t.PkgPath() == reflect.TypeFor[file]().PkgPath() {
				return strings.TrimSuffix(t.Name(), "File")
			}
			if t.Name() == "" {
				return ""
			}
			return path.Base(t.PkgPath()) + "-" + t.Name()
		},
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			switch t {
			case reflect.TypeFor[time.Duration]():
				return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`, Examples: []any{"15m", "1h30m"}}
			case reflect.TypeFor[targetFile]():
				return &jsonschema.Schema{Ref: "#/$defs/target"}
			case reflect.TypeFor[defaultsFile]():
				return &jsonschema.Schema{Ref: "#/$defs/defaults"}
			}
			return nil
		},
	}
}

// reroot points references inside a provider's schema to where its definitions
// went: under the kind's name, since two providers may name a type alike.
func reroot(s *jsonschema.Schema, kind string) {
	if s == nil {
		return
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok && !strings.HasPrefix(name, kind+".") {
		s.Ref = "#/$defs/" + kind + "." + name
	}
	reroot(s.Items, kind)
	reroot(s.AdditionalProperties, kind)
	for _, group := range [][]*jsonschema.Schema{s.OneOf, s.AnyOf, s.AllOf} {
		for _, one := range group {
			reroot(one, kind)
		}
	}
	if s.Properties != nil {
		for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
			reroot(pair.Value, kind)
		}
	}
	for _, one := range s.PatternProperties {
		reroot(one, kind)
	}
}

// JSONSchema is the schema of `true | false | {azp: [...]}`.
func (clientlessFile) JSONSchema() *jsonschema.Schema {
	parties := jsonschema.NewProperties()
	one := uint64(1)
	parties.Set("azp", &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string"}, MinItems: &one})
	return &jsonschema.Schema{
		Description: "Whether tokens may be exchanged without a registered client; for people's tokens, those of which authorized parties.",
		OneOf: []*jsonschema.Schema{
			{Type: "boolean"},
			{Type: "object", Properties: parties, Required: []string{"azp"}, AdditionalProperties: jsonschema.FalseSchema},
		},
	}
}

// JSONSchema is the schema of a pattern or a list of patterns.
func (patternsFile) JSONSchema() *jsonschema.Schema { return patternsSchema() }

func patternsSchema() *jsonschema.Schema {
	one, most := uint64(1), uint64(maxPattern)
	text := &jsonschema.Schema{Type: "string", MinLength: &one, MaxLength: &most}
	return &jsonschema.Schema{
		Description: "A pattern over the whole value, or several of which one must match: * is any run of characters, ? is one.",
		OneOf:       []*jsonschema.Schema{text, {Type: "array", Items: text, MinItems: &one}},
	}
}

// JSONSchema is the schema of a map from attributes to patterns.
func (attributesFile) JSONSchema() *jsonschema.Schema {
	one := uint64(1)
	known := jsonschema.NewProperties()
	known.Set("trust", patternsSchema())
	known.Set("subject", patternsSchema())
	return &jsonschema.Schema{
		Type: "object", Properties: known, AdditionalProperties: patternsSchema(), MinProperties: &one,
		Description: "Attributes that must all match: trust, subject (the canonical name), and those of the token.",
	}
}

// JSONSchema is the schema of a CEL expression.
func (whenFile) JSONSchema() *jsonschema.Schema {
	most := uint64(maxExpression)
	return &jsonschema.Schema{
		Type: "string", MaxLength: &most,
		Description: "A CEL condition over subject.name, subject.trust, subject.attributes, actor.name, actor.trust, actor.attributes, " +
			"request.client_ip, request.target, request.scopes, request.lifetime, request.reason, request.client and now.",
	}
}
