package listen

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

const (
	// established is the state of a socket that is open both ways (TCP_ESTABLISHED of
	// Linux). Others, such as TIME_WAIT, show uid 0 whoever had them.
	established = "01"
	// maxTable bounds what is read of a table of sockets, in bytes: 100,000 sockets.
	maxTable = 16 << 20
)

var errNoSocket = errors.New("its socket is not in the kernel's table: it is closed, or in another network namespace")

// findUID looks for the open socket that goes from local to remote, in a table as in
// /proc/net/tcp and tcp6 (proc_net_tcp of the Linux kernel's documentation).
func findUID(table io.Reader, local, remote netip.AddrPort) (uint32, error) {
	lines := bufio.NewScanner(io.LimitReader(table, maxTable))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || fields[3] != established {
			continue // the heading, too
		}
		if at, err := parseSocket(fields[1]); err != nil || at != local {
			continue
		}
		if at, err := parseSocket(fields[2]); err != nil || at != remote {
			continue
		}
		uid, err := strconv.ParseUint(fields[7], 10, 32)
		if err != nil {
			return 0, fmt.Errorf("the kernel's table of sockets holds no uid: %w", err)
		}
		return uint32(uid), nil
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, errNoSocket
}

// parseSocket reads an address as the kernel prints it: 32-bit words in the machine's
// own byte order, in hexadecimal, and a port. IPv4 in IPv6 is IPv4.
func parseSocket(text string) (netip.AddrPort, error) {
	address, port, ok := strings.Cut(text, ":")
	if !ok || len(address) != 8 && len(address) != 32 || len(port) != 4 {
		return netip.AddrPort{}, errors.New("it is no address of a socket")
	}
	raw, err := hex.DecodeString(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	ip, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
}
