package provider_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

func TestHandleOf(t *testing.T) {
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	for token, want := range map[string]string{
		jwt(`{"jti":"C-1.x_y","exp":5}`):                  "C-1.x_y",
		jwt(`{"uti":"x"}`):                                "",
		jwt(`{"jti":5}`):                                  "",
		jwt(`{"jti":"a b"}`):                              "",
		jwt(`{"jti":"` + strings.Repeat("x", 129) + `"}`): "",
		jwt(`[]`):  "",
		"e30.!!.x": "",
		"opaque":   "",
		"a.b":      "",
		"":         "",
		"e30." + strings.Repeat("x", 40<<10) + ".x": "",
	} {
		if got := provider.HandleOf(exchange.NewSecret(token), "jti"); got != want {
			t.Errorf("%.60s: %q", token, got)
		}
	}
}

func FuzzHandleOf(f *testing.F) {
	f.Add("e30.eyJqdGkiOiJ4In0.x")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		if got := provider.HandleOf(exchange.NewSecret(token), "jti"); len(got) > 128 || strings.ContainsAny(got, " \n\"") {
			t.Errorf("%q", got)
		}
	})
}
