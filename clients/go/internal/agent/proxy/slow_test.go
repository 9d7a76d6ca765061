package proxy_test

import (
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/proxy"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// A body that has its place in memory and does not come gives the place back, and who may
// not call at all is not waited for.
func TestS36ABodyThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	settings := read(t, `
listen: 127.0.0.1:9901
routes:
- {name: signed, upstream: "https://up.example", target: aws, auth: {aws: {service: s, region: us-east-1}}, paths: [/**]}
- {name: plain, upstream: "https://up.example", target: gpt, paths: [/**]}
`)
	room, err := proxy.New(settings, proxy.Deps{
		Targets: target.New(standin.New(t).Client(), map[string]target.Settings{"aws": {}, "gpt": {}}),
		Log:     slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now, Random: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	head := " HTTP/1.1\r\nHost: " + standin.PipeHost + "\r\n"
	known := head + "X-Api-Key: " + room.Secret().Reveal() + "\r\n"
	for name, c := range map[string]struct {
		send   string
		status string
		after  time.Duration
	}{
		"to be signed":           {"POST /signed/x" + known + "Content-Length: 100\r\n\r\n", "408", 30 * time.Second},
		"to be signed, half":     {"POST /signed/x" + known + "Content-Length: 100\r\n\r\nabc", "408", 30 * time.Second},
		"to be signed, chunks":   {"POST /signed/x" + known + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", "408", 30 * time.Second},
		"to be sent again":       {"POST /plain/x" + known + "Content-Length: 100\r\n\r\nabc", "408", 30 * time.Second},
		"of a stranger":          {"POST /signed/x" + head + "Content-Length: 100\r\n\r\n", "401", 0},
		"of a stranger, chunks":  {"POST /signed/x" + head + "Transfer-Encoding: chunked\r\n\r\n", "401", 0},
		"of a page in a browser": {"POST /signed/x" + known + "Origin: https://evil.example\r\nContent-Length: 100\r\n\r\n", "403", 0},
		"to a path off the list": {"POST /signed" + known + "Content-Length: 100\r\n\r\n", "403", 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := &http.Server{
				Handler: room.Handlers()["127.0.0.1:9901"], ReadHeaderTimeout: time.Minute,
				ConnContext: listen.WithConn,
			}
			took, answer := standin.HeldFor(t, server, c.send)
			if took < c.after || took > c.after+2*time.Second {
				t.Errorf("the connection was held for %v", took)
			}
			if !strings.HasPrefix(answer, "HTTP/1.1 "+c.status) {
				t.Errorf("the answer is %.80q", answer)
			}
		})
	}
}
