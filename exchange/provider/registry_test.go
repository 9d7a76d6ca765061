package provider_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

func TestRegistry(t *testing.T) {
	bank := provider.Kind{Name: "bank", New: func() provider.Config {
		return &providertest.Upstream{Now: time.Now, Offers: exchange.Facts{Resource: "https://bank.example"}}
	}}
	faulty := provider.Kind{Name: "a faulty one", New: func() provider.Config { return &faultySettings{} }}
	r := provider.NewRegistry(bank, faulty)
	if !slices.Equal(r.Kinds(), []string{"a faulty one", "bank"}) {
		t.Errorf("the kinds are %v", r.Kinds())
	}
	settings, ok := r.New("bank")
	if !ok {
		t.Fatal("no settings")
	}
	if facts, faults := r.Inspect(settings); len(faults) > 0 || facts.Resource != "https://bank.example" {
		t.Errorf("%+v, %v", facts, faults)
	}
	if settings, ok := r.New("aws"); ok || settings != nil {
		t.Errorf("a kind that is none has settings %v", settings)
	}
	if _, faults := r.Inspect(struct{}{}); len(faults) == 0 {
		t.Error("settings of no provider pass")
	}
	if facts, faults := r.Inspect(&faultySettings{}); len(faults) != 2 || facts.Resource != "" {
		t.Errorf("faulty settings: %+v, %v", facts, faults)
	}
	for name, kinds := range map[string][]provider.Kind{"twice": {bank, bank}, "unnamed": {{New: bank.New}}, "no settings": {{Name: "x"}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: registered", name)
				}
			}()
			provider.NewRegistry(kinds...)
		}()
	}
}

// faultySettings have two faults.
type faultySettings struct{ providertest.Upstream }

func (*faultySettings) Facts() exchange.Facts {
	return exchange.Facts{Resource: "https://bank.example"}
}
func (*faultySettings) Validate() []error {
	return []error{errors.New("a: empty"), errors.New("b: empty")}
}
