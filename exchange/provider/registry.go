package provider

import (
	"fmt"
	"slices"

	"github.com/cambio-sts/cambio/exchange"
)

// Kind is one kind of provider: the word that policy files use, and the settings
// that follow it.
type Kind struct {
	Name string
	// New returns a pointer to settings at their zero values, for a strict decoder
	// to fill.
	New func() Config
}

// Registry is the closed set of kinds that policy may name. It is immutable once
// made.
type Registry struct {
	names []string
	kinds map[string]func() Config
}

// NewRegistry registers the kinds. It panics on a kind that is incomplete or comes
// twice, since that is a fault of the program and not of its input.
func NewRegistry(kinds ...Kind) *Registry {
	r := &Registry{kinds: make(map[string]func() Config, len(kinds))}
	for _, k := range kinds {
		if k.Name == "" || k.New == nil {
			panic("provider: a kind needs a name and settings")
		}
		if _, twice := r.kinds[k.Name]; twice {
			panic("provider: kind " + k.Name + " is registered twice")
		}
		r.kinds[k.Name] = k.New
		r.names = append(r.names, k.Name)
	}
	slices.Sort(r.names)
	return r
}

// Kinds lists the names in alphabetical order.
func (r *Registry) Kinds() []string { return slices.Clone(r.names) }

// New returns a pointer to zero settings of the kind; false: there is no such
// kind.
func (r *Registry) New(kind string) (settings any, ok bool) {
	build, ok := r.kinds[kind]
	if !ok {
		return nil, false
	}
	return build(), true
}

// Inspect validates decoded settings and says what the core must know of them. The
// faults each name their field; with any, the facts are not to be used.
func (r *Registry) Inspect(settings any) (exchange.Facts, []error) {
	config, ok := settings.(Config)
	if !ok {
		return exchange.Facts{}, []error{fmt.Errorf("settings of type %T do not belong to a provider", settings)}
	}
	if faults := config.Validate(); len(faults) > 0 {
		return exchange.Facts{}, faults
	}
	return config.Facts(), nil
}
