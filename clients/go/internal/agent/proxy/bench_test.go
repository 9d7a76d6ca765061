package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// BenchmarkRequest compares a call through the proxy with the same one made directly.
func BenchmarkRequest(b *testing.B) {
	server := standin.New(b)
	server.Serve("gpt", vend(time.Hour))
	answer := strings.Repeat("x", 4<<10)
	u := newUpstream(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, answer)
	})
	h := serve(b, server.Client(), server.Clock.Now, openai(u, ""))
	for _, one := range []struct {
		name, url string
		client    *http.Client
	}{{"direct", u.URL, u.Client()}, {"proxy", h.url + "/openai", &http.Client{Transport: &http.Transport{}}}} {
		b.Run(one.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				req, _ := http.NewRequest("POST", one.url+"/v1/responses", strings.NewReader(`{"model":"gpt"}`))
				req.Header.Set("Authorization", "Bearer "+h.room.Secret().Reveal())
				resp, err := one.client.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(len(answer)) || resp.StatusCode != 200 {
					b.Fatal(n, err, resp.Status)
				}
				_ = resp.Body.Close()
			}
		})
	}
}
