package policy

import (
	"errors"
	"io/fs"

	"github.com/cambio-sts/cambio/exchange"
)

// Providers knows the kinds of target and their settings. The registry of drivers
// is one.
type Providers interface {
	// Kinds lists the provider kinds, sorted.
	Kinds() []string
	// New returns a pointer to zero settings of a kind; false: no such kind.
	New(kind string) (settings any, ok bool)
	// Inspect says what the core must know of decoded settings, and every fault in
	// them, each beginning with the name of the setting.
	Inspect(settings any) (exchange.Facts, []error)
}

// Options is what Load needs besides the files.
type Options struct {
	Tenant      string // empty: "default"
	Providers   Providers
	SecretNames []string // the secrets that policy may name (S20)
	// CheckTrusts finds faults that only the verifier can see. Optional.
	CheckTrusts func([]exchange.Trust) []error
	// Dir is what relative file names in trusts are relative to. Empty: the
	// process's directory.
	Dir string
}

// Load reads and compiles every *.yaml and *.yml of fsys's root, save *_test.yaml,
// in order of name. The error is a Faults with everything that is wrong.
func Load(fsys fs.FS, o Options) (*Revision, error) {
	return nil, errors.New("not built yet")
}
