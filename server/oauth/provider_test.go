package oauth

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/ory/fosite"

	"github.com/cambio-sts/cambio/exchange"
)

// fosite.Config has getters that fill in a missing member on first use, which
// races between requests. Ours leaves them nothing to fill in.
func TestFositeConfigIsNeverWritten(t *testing.T) {
	config := newConfig("https://cambio.example")
	before := *config
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { // the race detector watches
			v := reflect.ValueOf(config)
			for i := range v.NumMethod() {
				m, in := v.Method(i), []reflect.Value(nil)
				name := v.Type().Method(i).Name
				if !strings.HasPrefix(name, "Get") || name == "GetHTTPClient" { // that one makes a client and keeps none
					continue
				}
				if m.Type().NumIn() == 1 {
					in = append(in, reflect.ValueOf(context.Background()))
				}
				m.Call(in)
			}
		})
	}
	all.Wait()
	was, is := reflect.ValueOf(before), reflect.ValueOf(*config)
	for i := range was.NumField() {
		if was.Field(i).IsZero() != is.Field(i).IsZero() {
			t.Errorf("a getter wrote %s", was.Type().Field(i).Name)
		}
	}
}

// What fosite could say by itself becomes a kind of ours; its raw codes and its
// bare 500 have no way out.
func TestFositesOwnErrorsAreKinds(t *testing.T) {
	for err, want := range map[error]exchange.Kind{
		fosite.ErrInvalidClient:  exchange.KindInvalidClient,
		fosite.ErrAccessDenied:   exchange.KindInternal,
		fosite.ErrTokenExpired:   exchange.KindInternal,
		fosite.ErrJTIKnown:       exchange.KindInternal,
		fosite.ErrNotFound:       exchange.KindInternal,
		fosite.ErrInvalidRequest: exchange.KindInternal,
		http.ErrNoCookie:         exchange.KindInternal,
		errNoClient:              exchange.KindInvalidClient,
		errors.Join(errNoClient): exchange.KindInvalidClient,
		fosite.ErrInvalidClient.WithHint("x").WithWrap(http.ErrNoCookie): exchange.KindInvalidClient,
	} {
		if got := failureOf(err).Kind; got != want {
			t.Errorf("%v: %s", err, got)
		}
	}
}

// What fosite must not do here, it cannot.
func TestFositeHasNothingToWorkWith(t *testing.T) {
	ctx := context.Background()
	config := newConfig("https://cambio.example")
	if _, err := (noClients{}).GetClient(ctx, "gateway"); !errors.Is(err, fosite.ErrNotFound) {
		t.Errorf("a client: %v", err)
	}
	if config.ClientSecretsHasher.Compare(ctx, nil, nil) == nil {
		t.Error("the empty secret matches")
	}
	if _, err := config.JWKSFetcherStrategy.Resolve(ctx, "https://evil.example/jwks", true); err == nil {
		t.Error("it fetches")
	}
	if config.AudienceMatchingStrategy([]string{"urn:a:b"}, []string{"urn:c"}) == nil {
		t.Error("any urn matches any other")
	}
}
