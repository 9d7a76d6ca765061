package proxy_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// An upstream whose answer is no HTTP quotes what it was sent: neither the log nor the
// caller gets to see that (house.silent looks at the log).
func TestWhatAnUpstreamQuotesIsNotLogged(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	for name, answer := range map[string]string{
		"no HTTP":       "%s\r\n\r\n",
		"half a header": "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
		"a status":      "HTTP/1.1 %s\r\n\r\n",
		"a length":      "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"an encoding":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
							_, _ = fmt.Fprintf(c, answer, req.Header.Get("Authorization")+" "+req.Header.Get("X-Key")+" "+req.Header.Get("Cookie"))
						}
					}()
				}
			}()
			for _, auth := range []string{"bearer", "{header: x-key}"} {
				h := serve(t, server.Client(), server.Clock.Now, "routes:\n- {name: up, upstream: \"http://"+l.Addr().String()+"\", target: gpt, auth: "+auth+
					", paths: [/**], cookie_passthrough: {enabled: true, cookie_names: [sid]}}\n")
				resp, text := h.ask(t, "GET", "/up/x", nil, func(r *http.Request) { r.Header.Set("Cookie", "sid=user-cookie-1") })
				if resp.StatusCode != http.StatusBadGateway || secretive.MatchString(text) {
					t.Errorf("%d", resp.StatusCode)
				}
			}
		})
	}
}
