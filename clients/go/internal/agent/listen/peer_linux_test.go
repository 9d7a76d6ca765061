package listen

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:26AD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   1: 0100007F:8235 0100007F:26AD 06 00000000:00000000 03:00001766 00000000     0        0 0 3 0
   2: 0100007F:8235 0100007F:26AD 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0
   3: 0000000000000000FFFF00000100007F:8236 0000000000000000FFFF00000100007F:26AD 01 00000000:00000000 00:00000000 00000000  1001        0 3 1 0
   4: 00000000000000000000000001000000:8235 00000000000000000000000001000000:26AD 01 00000000:00000000 00:00000000 00000000  1002        0 4 1 0
   5: 0100007F:8237 0100007F:26AD 01 00000000:00000000 00:00000000 00000000  x        0 4 1 0
`

// The table is that of a little-endian machine, which amd64 and arm64 are.
func TestS36FindUID(t *testing.T) {
	for local, want := range map[string]uint32{"127.0.0.1:33333": 1000, "127.0.0.1:33334": 1001, "[::1]:33333": 1002} {
		remote := "127.0.0.1:9901"
		if strings.HasPrefix(local, "[") {
			remote = "[::1]:9901"
		}
		uid, err := findUID(strings.NewReader(table), netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote))
		if err != nil || uid != want {
			t.Errorf("%s: %d, %v; want %d", local, uid, err, want)
		}
	}
	for local, remote := range map[string]string{
		"127.0.0.1:33332": "127.0.0.1:9901", "127.0.0.1:33333": "127.0.0.1:9902", "127.0.0.2:33333": "127.0.0.1:9901",
		"127.0.0.1:33335": "127.0.0.1:9901", "0.0.0.0:0": "0.0.0.0:0",
	} {
		if uid, err := findUID(strings.NewReader(table), netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote)); err == nil {
			t.Errorf("%s to %s is found, of %d", local, remote, uid)
		}
	}
}

func FuzzFindUID(f *testing.F) {
	f.Add(table)
	local, remote := netip.MustParseAddrPort("127.0.0.1:33333"), netip.MustParseAddrPort("127.0.0.1:9901")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := findUID(strings.NewReader(text), local, remote); err == nil && !strings.Contains(text, ":8235") {
			t.Error("a socket is found that is not there")
		}
	})
}

// Where a namespace does not map every user, the number of those that it has none for is
// nobody's: a process of another container would have it too.
func TestS36UsersWithoutANumberAreNobody(t *testing.T) {
	for users, want := range map[string]uint32{
		"         0          0 4294967295\n": noUID,
		"         0     100000      65536\n": 65534,
		"         0       1000          1\n": 65534,
		"0 1000 1\n1 100000 65536\n":         65534,
		"":                                   65534,
	} {
		if got := strangersOf(users, "65534\n"); got != want {
			t.Errorf("%q: %d", users, got)
		}
	}
	if got := strangersOf("0 1000 1", "no number"); got != 65534 {
		t.Errorf("%d", got)
	}
}

// The one at the other end is known at every listener of a set.
func TestS36PeersOfASetAreKnown(t *testing.T) {
	s := New(slog.New(slog.DiscardHandler), time.Minute)
	defer s.Close()
	type peer struct {
		uid uint32
		err error
	}
	seen := make(chan peer, 1)
	path := filepath.Join(t.TempDir(), "s")
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		uid, err := PeerUID(Conn(r.Context()))
		seen <- peer{uid, err}
	})
	const tcp = "127.0.0.1:0"
	if err := s.Update(map[string]Endpoint{"unix:" + path: {Handler: handler}, tcp: {Handler: handler}}); err != nil {
		t.Fatal(err)
	}
	for network, address := range map[string]string{"unix": path, "tcp": s.Bound()[tcp]} {
		c, err := net.Dial(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got.err != nil || int(got.uid) != os.Getuid() {
			t.Errorf("%s: %d, %v", network, got.uid, got.err)
		}
	}
}
