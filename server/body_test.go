package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
)

// A body that trickles is given up; the handler learns of it as the caller's
// fault, and still can answer.
func TestSlowBodiesAreGivenUp(t *testing.T) {
	got := make(chan error, 1)
	s := listen(t, server.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := server.ReadBody(w, r, 1024, 20*time.Millisecond, 10*time.Second)
		got <- err
		w.WriteHeader(http.StatusBadRequest)
	})})
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nslow"); err != nil {
		t.Fatal(err)
	}
	var known *exchange.Error
	if err := <-got; !errors.As(err, &known) || known.Kind != exchange.KindInvalidRequest || !strings.Contains(known.Advice, "slowly") {
		t.Errorf("%v", err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("%d", response.StatusCode)
	}
}

// A handler that reads no body is not held up by one that never comes.
func TestBodiesThatNobodyReadsHoldNobodyUp(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"short answer": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"long answer":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("a", 9000)) },
		"too large": func(w http.ResponseWriter, r *http.Request) {
			_, err := server.ReadBody(w, r, 10, 20*time.Millisecond, 10*time.Second)
			w.WriteHeader(server.RowOf(exchange.KindOf(err)).HTTP)
		},
	} {
		s := listen(t, server.Options{Handler: h, BodyTimeout: 20 * time.Millisecond})
		for _, length := range []string{"Content-Length: 100\r\n\r\nslow", "Transfer-Encoding: chunked\r\n\r\n64\r\nslow"} {
			conn, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n"+length); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if b, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 ") { // answered, and cut
				t.Errorf("%s: %.60q %v", name, b, err)
			}
			_ = conn.Close()
		}
	}
}

// The deadline for reading ends with the body: a handler that takes longer keeps
// its context. That for the whole stays.
func TestTheReadingDeadlineEndsWithTheBody(t *testing.T) {
	w := &bounded{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("hello"))
	before := time.Now()
	if b, err := server.ReadBody(w, r, 1024, time.Minute, time.Hour); err != nil || string(b) != "hello" {
		t.Fatalf("%q %v", b, err)
	}
	if len(w.read) != 2 || w.read[0].Before(before.Add(time.Minute)) || !w.read[1].IsZero() {
		t.Errorf("reading was bounded by %v", w.read)
	}
	if len(w.write) != 1 || w.write[0].Before(before.Add(time.Hour)) {
		t.Errorf("the whole was bounded by %v", w.write)
	}
}

// bounded notes the deadlines that it is given, as a connection would.
type bounded struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (b *bounded) SetReadDeadline(t time.Time) error  { b.read = append(b.read, t); return nil }
func (b *bounded) SetWriteDeadline(t time.Time) error { b.write = append(b.write, t); return nil }

func TestBodiesAreBounded(t *testing.T) {
	s := listen(t, server.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := server.ReadBody(w, r, 100, time.Second, 10*time.Second)
		if err != nil {
			w.WriteHeader(server.RowOf(exchange.KindOf(err)).HTTP)
			return
		}
		fmt.Fprint(w, len(b))
	})})
	for _, announced := range []bool{true, false} {
		for size, want := range map[int]int{0: 200, 1: 200, 100: 200, 101: 413, 100000: 413} {
			var body io.Reader = strings.NewReader(strings.Repeat("a", size))
			if !announced {
				body = io.MultiReader(body)
			}
			response, err := dial(t, nil, http1).Post(s.URL(), "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode != want || want == 200 && string(b) != fmt.Sprint(size) {
				t.Errorf("%d bytes, announced %v: %d %s", size, announced, response.StatusCode, b)
			}
		}
	}
}
