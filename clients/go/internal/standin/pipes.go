package standin

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory, whose time is that of a synctest bubble.
type pipes chan net.Conn

// near is an end that looks like loopback.
type near struct{ net.Conn }

func (near) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9901} }

// Accept waits for a connection.
func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return near{c}, nil
}

// Close ends the listener.
func (p pipes) Close() error { close(p); return nil }

// Addr is an address of loopback.
func (p pipes) Addr() net.Addr { return near{}.LocalAddr() }

// PipeHost is the Host that requests of HeldFor name.
const PipeHost = "127.0.0.1:9901"

// HeldFor sends bytes to a server and nothing after them, and tells for how long the
// server held the connection, and what it answered. No real time passes.
func HeldFor(t *testing.T, server *http.Server, send string) (held time.Duration, answer string) {
	synctest.Test(t, func(t *testing.T) {
		listener := make(pipes)
		go func() { _ = server.Serve(listener) }()
		client, conn := net.Pipe()
		listener <- conn
		began := time.Now()
		var all bytes.Buffer
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = io.Copy(&all, client)
		}()
		if _, err := io.Copy(client, strings.NewReader(send)); err != nil {
			t.Error(err)
		}
		<-ended // the server has closed the connection
		held, answer = time.Since(began), all.String()
		_ = client.Close()
		_ = server.Close()
		synctest.Wait()
	})
	return held, answer
}
