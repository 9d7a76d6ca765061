package door

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// Somebody who announces a body and does not send it, of whom nothing is known, holds a
// connection for no longer than it takes to send one.
func TestS36WhoSendsNoBodyIsNotWaitedFor(t *testing.T) {
	targets := target.New(standin.New(t).Client(), map[string]target.Settings{"x": {}})
	room, err := New(Settings{IBM: &IBM{Target: "x", Service: "X"}, AWS: &AWS{Target: "x"}}, Deps{Targets: targets})
	if err != nil {
		t.Fatal(err)
	}
	const head = " HTTP/1.1\r\nHost: " + standin.PipeHost + "\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	for name, c := range map[string]struct {
		send   string
		status string
		after  time.Duration
	}{
		"a body that does not come":       {"POST /ibm/identity/token" + head + "Content-Length: 100\r\n\r\n", "400", bodySilence},
		"half of one":                     {"POST /ibm/identity/token" + head + "Content-Length: 100\r\n\r\ncr_token=", "400", bodySilence},
		"chunks that end nowhere":         {"POST /ibm/identity/token" + head + "Transfer-Encoding: chunked\r\n\r\n1\r\n", "400", bodySilence},
		"one that is too long":            {"POST /ibm/identity/token" + head + "Content-Length: 100000\r\n\r\n", "413", 0},
		"one where there is none":         {"GET /aws/x" + head + "Content-Length: 100\r\n\r\n", "413", 0},
		"one with a wrong method":         {"POST /aws/x" + head + "Content-Length: 100\r\n\r\n", "405", 0},
		"one where there is no door":      {"POST /other" + head + "Content-Length: 100\r\n\r\n", "405", 0},
		"one that a page sends":           {"POST /ibm/identity/token" + head + "Origin: https://evil.example\r\nContent-Length: 100\r\n\r\n", "403", 0},
		"chunks where there is no body":   {"GET /aws/x" + head + "Transfer-Encoding: chunked\r\n\r\n", "413", 0},
		"one that is expected to be held": {"POST /ibm/identity/token" + head + "Expect: 100-continue\r\nContent-Length: 100\r\n\r\n", "100", bodySilence},
	} {
		t.Run(name, func(t *testing.T) {
			server := &http.Server{Handler: room.Handlers()[DefaultListen], ReadHeaderTimeout: time.Minute}
			took, answer := standin.HeldFor(t, server, c.send)
			// A refused caller has a moment to read why.
			if took < c.after || took > c.after+2*time.Second {
				t.Errorf("the connection was held for %v", took)
			}
			if !strings.HasPrefix(answer, "HTTP/1.1 "+c.status) {
				t.Errorf("the answer is %.80q", answer)
			}
		})
	}
}
