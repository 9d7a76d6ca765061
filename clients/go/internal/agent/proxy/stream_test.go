package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// Each event is read before the upstream sends the next.
func TestEventsArriveOneByOne(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	next := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ""))
	req, _ := http.NewRequest("POST", h.url+"/openai/v1/responses", strings.NewReader("{}"))
	req.Header.Set("Authorization", "Bearer "+h.room.Secret().Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 5 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) || !lines.Scan() {
			t.Fatalf("event %d: %q %v", i, lines.Text(), lines.Err())
		}
		next <- struct{}{}
	}
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("after the end: %q %v", lines.Text(), lines.Err())
	}
}

// Both directions stream at once: each piece of the upload is answered before the next.
func TestUploadStreams(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		p := make([]byte, 16)
		for {
			n, err := r.Body.Read(p)
			if n > 0 {
				_, _ = w.Write(p[:n])
				_ = rc.Flush()
			}
			if err != nil {
				break
			}
		}
		w.Header().Set(http.TrailerPrefix+"X-Sum", r.Trailer.Get("X-Sum")+r.Trailer.Get("Authorization")+r.Trailer.Get("X-Late"))
		w.Header().Set(http.TrailerPrefix+"Set-Cookie", "s=1")
	})
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ""))
	from, to := io.Pipe()
	req, _ := http.NewRequest("POST", h.url+"/openai/v1/responses", from)
	req.Header.Set("X-Api-Key", h.room.Secret().Reveal())
	req.Trailer = http.Header{"X-Sum": nil, "Authorization": nil}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p := make([]byte, 16)
	for i := range 3 {
		piece := fmt.Sprintf("piece %d", i)
		if _, err := io.WriteString(to, piece); err != nil {
			t.Fatal(err)
		}
		if n, err := resp.Body.Read(p); err != nil || string(p[:n]) != piece {
			t.Fatalf("%q %v", p[:n], err)
		}
	}
	req.Trailer["X-Sum"], req.Trailer["Authorization"] = []string{"42"}, []string{"Bearer the-callers"}
	_ = to.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Fatalf("%q %v", rest, err)
	}
	if resp.Trailer.Get("X-Sum") != "42" || resp.Trailer.Get("Set-Cookie") != "" {
		t.Errorf("trailers %v", resp.Trailer)
	}
}

func TestLeavingReachesTheUpstream(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	began, ended := make(chan struct{}), make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-r.Context().Done()
		close(ended)
	})
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ""))
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "POST", h.url+"/openai/v1/responses", strings.NewReader("{}"))
	req.Header.Set("Api-Key", h.room.Secret().Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	<-began
	cancel()
	<-ended
	_ = resp.Body.Close()
}

func TestSilenceEndsAStream(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ", limits: {idle_timeout: 50ms}"))
	req, _ := http.NewRequest("POST", h.url+"/openai/v1/responses", strings.NewReader("{}"))
	req.Header.Set("Api-Key", h.room.Secret().Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err == nil || string(text) != "data: 1\n\n" {
		t.Errorf("%q %v", text, err)
	}
	h.settle(t)
	if !strings.Contains(h.log.String(), "the answer broke off") {
		t.Error("the log does not say that the answer broke off")
	}
}

func TestAnswerThatDoesNotBegin(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ", limits: {header_timeout: 50ms}"))
	if resp, text := h.ask(t, "POST", "/openai/v1/responses", strings.NewReader("{}"), nil); resp.StatusCode != 504 || !strings.Contains(text, "header_timeout") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

func TestUpgrades(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer vended-secret-1" || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSet-Cookie: s=1\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("echo " + line)
		_ = rw.Flush()
	}, func(s *httptest.Server) { s.EnableHTTP2 = false })
	for _, allowed := range []bool{false, true} {
		more := ""
		if allowed {
			more = ", upgrades: [websocket]"
		}
		h := serve(t, server.Client(), server.Clock.Now, openai(u, more))
		c, err := net.Dial("tcp", h.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /openai/v1/responses HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Api-Key: %s\r\n\r\n", h.address, h.room.Secret().Reveal())
		from := bufio.NewReader(c)
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !allowed {
			if resp.StatusCode != http.StatusNotImplemented {
				t.Errorf("status %d", resp.StatusCode)
			}
			continue
		}
		fmt.Fprintln(c, "hello")
		echo, err := from.ReadString('\n')
		if resp.StatusCode != 101 || echo != "echo hello\n" || err != nil || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("status %d, %q %v", resp.StatusCode, echo, err)
		}
	}
}
