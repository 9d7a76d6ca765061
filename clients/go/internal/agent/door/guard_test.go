package door

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"
)

func TestS36HostIsThatOfTheListener(t *testing.T) {
	tcp := func(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }
	unix := &net.UnixAddr{Name: "/run/agent.sock", Net: "unix"}
	google := []string{"metadata.google.internal"}
	for _, c := range []struct {
		at    net.Addr
		host  string
		tls   bool
		names []string
		want  bool
	}{
		{tcp("127.0.0.1", 9901), "127.0.0.1:9901", false, nil, true},
		{tcp("127.0.0.1", 9901), "localhost:9901", false, nil, true},
		{tcp("127.0.0.1", 9901), "127.0.0.2:9901", false, nil, true},
		{tcp("127.0.0.1", 9901), "[::1]:9901", false, nil, true},
		{tcp("127.0.0.1", 9901), "[::ffff:127.0.0.1]:9901", false, nil, true},
		{tcp("::1", 9901), "[::1]:9901", false, nil, true},
		{tcp("127.0.0.1", 80), "127.0.0.1", false, nil, true},
		{tcp("::1", 80), "[::1]", false, nil, true},
		{tcp("127.0.0.1", 443), "localhost", true, nil, true},
		{tcp("169.254.169.254", 80), "metadata.google.internal", false, google, true},
		{tcp("169.254.169.254", 80), "169.254.169.254", false, google, true},
		{tcp("169.254.170.2", 80), "169.254.170.2", false, nil, true},
		{unix, "localhost", false, nil, true},

		{tcp("127.0.0.1", 9901), "", false, nil, false},
		{tcp("127.0.0.1", 9901), "127.0.0.1", false, nil, false},
		{tcp("127.0.0.1", 9901), "127.0.0.1:9902", false, nil, false},
		{tcp("127.0.0.1", 9901), "127.0.0.1:09901", false, nil, false},
		{tcp("127.0.0.1", 443), "localhost", false, nil, false},
		{tcp("127.0.0.1", 80), "localhost", true, nil, false},
		{tcp("127.0.0.1", 9901), "evil.example:9901", false, nil, false},
		{tcp("127.0.0.1", 9901), "localhost.:9901", false, nil, false},
		{tcp("127.0.0.1", 9901), "2130706433:9901", false, nil, false},
		{tcp("127.0.0.1", 9901), "0.0.0.0:9901", false, nil, false},
		{tcp("127.0.0.1", 9901), "[::]:9901", false, nil, false},
		{tcp("127.0.0.1", 9901), "user@127.0.0.1:9901", false, nil, false},
		{tcp("127.0.0.1", 80), "metadata.google.internal", false, google, false},
		{tcp("169.254.169.254", 80), "metadata.google.internal", false, nil, false},
		{tcp("169.254.169.254", 80), "127.0.0.1", false, google, false},
		{tcp("169.254.169.254", 80), "169.254.170.2", false, google, false},
		{unix, "evil.example", false, nil, false},
		{nil, "127.0.0.1:9901", false, nil, false},
	} {
		r := &http.Request{Host: c.host}
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if c.at != nil {
			r = r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, c.at))
		}
		if got := (&door{names: c.names}).knows(r); got != c.want {
			t.Errorf("%q at %v: %v; want %v", c.host, c.at, got, c.want)
		}
	}
}
