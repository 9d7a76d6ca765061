package provider_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// A vendor says what its pages say that it says.
func TestBearerTakesTheTypesOfItsVendor(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for body, kinds := range map[string]struct{ strict, silent exchange.Kind }{
		`{"access_token":"x","token_type":"Bearer","expires_in":60}`: {},
		`{"access_token":"x","expires_in":60}`:                       {strict: exchange.KindUnavailable},
		`{"access_token":"x","token_type":"mac","expires_in":60}`:    {exchange.KindUnavailable, exchange.KindUnavailable},
		`{"token_type":"Bearer","expires_in":60}`:                    {exchange.KindUnavailable, exchange.KindUnavailable},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}))
		r, err := provider.PostForm(t.Context(), s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := provider.Ask(s.Client(), r, func() time.Time { return now })
		s.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			types []string
			want  exchange.Kind
		}{{[]string{"bearer"}, kinds.strict}, {[]string{"bearer", ""}, kinds.silent}} {
			got, err := a.Bearer(now, c.types...)
			switch {
			case c.want != 0 && exchange.KindOf(err) != c.want:
				t.Errorf("%s for %q: %v", body, c.types, err)
			case c.want == 0 && (err != nil || !got.Expires.Equal(now.Add(time.Minute))):
				t.Errorf("%s for %q: %v, until %s", body, c.types, err, got.Expires)
			}
		}
	}
}
