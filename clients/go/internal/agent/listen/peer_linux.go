package listen

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// PeersKnown reports why nobody's uid can be told.
func PeersKnown() error { return nil }

// socketPeer is the user at the other end of a unix socket (unix(7), SO_PEERCRED).
func socketPeer(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, failed
	}
	return cred.Uid, nil
}

// socketUID is the owner of the open socket from local to remote. A client may have come
// with an IPv6 socket to an IPv4 address, so both tables are read.
func socketUID(local, remote netip.AddrPort) (uint32, error) {
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return 0, err
		}
		uid, err := findUID(table, local, remote)
		_ = table.Close()
		if !errors.Is(err, errNoSocket) {
			return uid, err
		}
	}
	return 0, errNoSocket
}

// strangers is the uid by which the kernel names whoever has no number here.
var strangers = sync.OnceValue(func() uint32 {
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return noUID // a kernel without user namespaces
	}
	overflow, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		overflow = []byte("65534")
	}
	return strangersOf(string(users), string(overflow))
})

// noUID is nobody's: the kernel has it for "none".
const noUID = 1<<32 - 1

// strangersOf reads which uid stands for the users that a namespace does not map
// (user_namespaces(7)). Where all are mapped, it is a user like any other.
func strangersOf(users, overflow string) uint32 {
	if strings.Join(strings.Fields(users), " ") == "0 0 4294967295" {
		return noUID
	}
	uid, err := strconv.ParseUint(strings.TrimSpace(overflow), 10, 32)
	if err != nil {
		return 65534
	}
	return uint32(uid)
}
