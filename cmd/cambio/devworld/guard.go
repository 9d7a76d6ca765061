package devworld

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// Guard keeps web pages away from a server on this machine (S35). A page that has
// rebound its name to 127.0.0.1 sends that name as Host; a page that posts across
// origins sends its own as Origin. Neither gets past.
func Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localAuthority(r.Host, r) {
			http.Error(w, "cambio dev answers to its own address only, and this request's Host is another", http.StatusForbidden)
			return
		}
		own := "http"
		if r.TLS != nil {
			own = "https"
		}
		for _, origin := range r.Header.Values("Origin") {
			scheme, authority, ok := strings.Cut(origin, "://")
			if !ok || scheme != own || !localAuthority(authority, r) {
				http.Error(w, "cambio dev takes no requests from web pages of another origin", http.StatusForbidden)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// localAuthority reports whether authority is this listener by a loopback name.
func localAuthority(authority string, r *http.Request) bool {
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		return false
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if _, own, err := net.SplitHostPort(local.String()); err != nil || own != port {
			return false
		}
	}
	return exchange.LoopbackHost(host)
}

// CheckAddress refuses every address to listen on but one of this machine alone
// (S35).
func CheckAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is no host:port: write 127.0.0.1:8080", address)
	}
	if !exchange.LoopbackHost(host) {
		return fmt.Errorf("this listens on this machine only: write 127.0.0.1 instead of %q", host)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q is no port: write a number up to 65535", port)
	}
	return nil
}
