// Package outboundtest has clients of package outbound for the tests of those who are
// lent one.
package outboundtest

import (
	"net/http"
	"testing"

	"github.com/cambio-sts/cambio/exchange/outbound"
)

// Shut are clients that let no request to 127.0.0.1 out, by what is in its way.
func Shut(t testing.TB) map[string]*http.Client {
	t.Helper()
	shut := map[string]*http.Client{}
	for why, o := range map[string]outbound.Options{
		"host":    {Allow: []string{"elsewhere.example"}, AllowLoopback: true},
		"address": {Allow: []string{"*"}},
	} {
		c, err := outbound.Client(o)
		if err != nil {
			t.Fatal(err)
		}
		shut[why] = c
	}
	return shut
}
