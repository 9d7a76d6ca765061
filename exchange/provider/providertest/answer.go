package providertest

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider"
)

// Refused is what provider.Ask gives for an answer of that status, 400 to 599, for
// those who read refusals.
func Refused(t testing.TB, status int, body string) *provider.Answer {
	t.Helper()
	client := Inside(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	r, err := provider.PostForm(t.Context(), "https://provider.example/token", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := provider.Ask(client, r, time.Now)
	if a == nil {
		t.Fatal(err)
	}
	return a
}
