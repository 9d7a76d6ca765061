package all_test

import (
	"testing"

	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/all"
)

// TestAllKindsMakeFreshSettings: two targets of a kind never share settings.
func TestAllKindsMakeFreshSettings(t *testing.T) {
	r := all.Registry()
	if len(r.Kinds()) == 0 {
		t.Fatal("no kinds")
	}
	for _, kind := range r.Kinds() {
		a, _ := r.New(kind)
		b, _ := r.New(kind)
		if a == b {
			t.Errorf("%s hands out the same settings twice", kind)
		}
		if _, ok := a.(provider.Config); !ok {
			t.Errorf("%s's settings are a %T", kind, a)
		}
	}
}
