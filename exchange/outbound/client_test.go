package outbound_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange/outbound"
)

// any is the least that makes a client which may talk to a test's own server.
func local(change ...func(*outbound.Options)) outbound.Options {
	o := outbound.Options{Allow: []string{"*"}, AllowLoopback: true}
	for _, f := range change {
		f(&o)
	}
	return o
}

func open(t *testing.T, o outbound.Options) *http.Client {
	t.Helper()
	c, err := outbound.Client(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, c *http.Client, url string) (string, error) {
	t.Helper()
	response, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return string(b), err
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

func TestS24LoopbackOnlyWhereConfigured(t *testing.T) {
	reached := false
	s := serve(t, func(http.ResponseWriter, *http.Request) { reached = true })
	closed := open(t, outbound.Options{Allow: []string{"*"}, AllowPlaintext: true})
	if _, err := get(t, closed, s.URL); !errors.Is(err, outbound.ErrAddress) {
		t.Errorf("got %v", err)
	}
	if reached {
		t.Error("the server was reached")
	}
	for _, o := range []outbound.Options{
		local(),
		{Allow: []string{"*"}, AllowAddresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	} {
		if _, err := get(t, open(t, o), s.URL); err != nil {
			t.Error(err)
		}
	}
}

func TestS24EveryWayToWriteThisMachineIsRefused(t *testing.T) {
	reached := false
	s := serve(t, func(http.ResponseWriter, *http.Request) { reached = true })
	port := netip.MustParseAddrPort(s.Listener.Addr().String()).Port()
	c := open(t, outbound.Options{Allow: []string{"*"}, AllowPlaintext: true})
	for _, host := range []string{
		"127.0.0.1", "127.1.2.3", "localhost", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
		"[64:ff9b::7f00:1]", "[64:ff9b:1::127.0.0.1]", "[2002:7f00:1::]",
		"169.254.169.254", "169.254.170.2", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]",
		"[fe80::1]", "[fd00:ec2::254]", "[fd00:ec2::23]", "[fd20:ce::254]", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		"224.0.0.1", "255.255.255.255", "240.0.0.1", "[ff02::1]", "[2001:0:53aa:64c:0:0:0:1]",
	} {
		_, err := get(t, c, fmt.Sprintf("http://%s:%d/", host, port))
		if !errors.Is(err, outbound.ErrAddress) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if reached {
		t.Error("the server was reached")
	}
}

func TestS24RedirectsAreErrors(t *testing.T) {
	followed := false
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/next" {
			followed = true
			return
		}
		http.Redirect(w, r, "/next?token=secret", map[string]int{"/301": 301, "/302": 302, "/303": 303, "/307": 307, "/308": 308}[r.URL.Path])
	})
	c := open(t, local())
	for _, path := range []string{"/301", "/302", "/303", "/307", "/308"} {
		_, err := get(t, c, s.URL+path)
		if !errors.Is(err, outbound.ErrRedirect) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", path, err)
		}
		_, err = c.Post(s.URL+path, "text/plain", strings.NewReader("the credential"))
		if !errors.Is(err, outbound.ErrRedirect) {
			t.Errorf("POST %s: %v", path, err)
		}
	}
	if followed {
		t.Error("a redirect was followed")
	}
}

func TestS24AnswersAreBounded(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		size, chunked := 0, strings.HasPrefix(r.URL.Path, "/chunked")
		if _, err := fmt.Sscanf(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/'):], "/%d", &size); err != nil {
			t.Error(err)
		}
		if chunked {
			w.(http.Flusher).Flush()
		}
		_, _ = io.WriteString(w, strings.Repeat("x", size))
	})
	c := open(t, local(func(o *outbound.Options) { o.MaxBytes = 1000 }))
	for _, way := range []string{"/whole", "/chunked"} {
		for _, size := range []int{0, 1, 999, 1000} {
			if got, err := get(t, c, fmt.Sprintf("%s%s/%d", s.URL, way, size)); err != nil || len(got) != size {
				t.Errorf("%s %d: %d bytes, %v", way, size, len(got), err)
			}
		}
		for _, size := range []int{1001, 5000, 300000} {
			got, err := get(t, c, fmt.Sprintf("%s%s/%d", s.URL, way, size))
			if !errors.Is(err, outbound.ErrTooLarge) || len(got) > 1000 {
				t.Errorf("%s %d: %d bytes, %v", way, size, len(got), err)
			}
		}
	}
}

// Small reads meet the bound at the same byte.
func TestS24TheBoundHoldsForEveryReadSize(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, strings.Repeat("x", 11))
	})
	c := open(t, local(func(o *outbound.Options) { o.MaxBytes = 10 }))
	for size := 1; size < 13; size++ {
		response, err := c.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		total, buffer := 0, make([]byte, size)
		for err == nil {
			var n int
			n, err = response.Body.Read(buffer)
			total += n
		}
		_ = response.Body.Close()
		if !errors.Is(err, outbound.ErrTooLarge) || total != 10 {
			t.Errorf("reads of %d: %d bytes, %v", size, total, err)
		}
		if _, again := response.Body.Read(buffer); again == nil {
			t.Error("and then it read on")
		}
	}
}

func TestS24HeadersAreBounded(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Filler", strings.Repeat("a", 80<<10))
	})
	if _, err := get(t, open(t, local()), s.URL); err == nil {
		t.Error("80 kB of header were read")
	}
}

func TestS24TimeIsBounded(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.(http.Flusher).Flush()
		}
		<-release
	})
	t.Cleanup(func() { close(release) })
	c := open(t, local(func(o *outbound.Options) { o.Timeout = 50 * time.Millisecond }))
	for _, path := range []string{"/header", "/body"} {
		if _, err := get(t, c, s.URL+path); err == nil || !os.IsTimeout(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestS24HostsOutsideTheAllowListAreRefused(t *testing.T) {
	s := serve(t, hello)
	port := netip.MustParseAddrPort(s.Listener.Addr().String()).Port()
	for pattern, ok := range map[string]bool{
		"127.0.0.1": true, "127.*": true, "*": true, "*.0.0.1": true, "1*7.*.1": true,
		"127.0.0": false, "27.0.0.1": false, "*.example.com": false, "127.0.0.1.example.com": false, "**.2": false,
	} {
		c := open(t, local(func(o *outbound.Options) { o.Allow = []string{"other.example", pattern} }))
		_, err := get(t, c, fmt.Sprintf("http://127.0.0.1:%d/", port))
		if (err == nil) != ok || !ok && !errors.Is(err, outbound.ErrHost) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	for _, bad := range []string{"", "https://a.example", "a.example/path", "a b", "user@a.example"} {
		if _, err := outbound.Client(outbound.Options{Allow: []string{bad}}); err == nil {
			t.Errorf("%q is taken for a host", bad)
		}
	}
	if _, err := outbound.Client(outbound.Options{}); err == nil {
		t.Error("an empty allow-list makes a client")
	}
}

// TestS24ARefusalSaysWhatWouldAllowIt: what is refused and the setting, and to whoever
// wonders whether to ask again, that it is in vain.
func TestS24ARefusalSaysWhatWouldAllowIt(t *testing.T) {
	for url, c := range map[string]struct {
		kind error
		want []string
	}{
		"https://sts.example/token":           {outbound.ErrHost, []string{`"sts.example"`, "outbound.allow"}},
		"https://169.254.169.254/":            {outbound.ErrAddress, []string{"169.254.169.254/32", "outbound.allow"}},
		"https://[::ffff:169.254.169.254]/":   {outbound.ErrAddress, []string{"add 169.254.169.254/32", "outbound.allow"}},
		"https://[fe80::1]/":                  {outbound.ErrAddress, []string{"fe80::1/128", "outbound.allow"}},
		"http://169.254.169.254/":             {outbound.ErrPlaintext, []string{"https", `"169.254.169.254"`}},
		"https://" + strings.Repeat("x", 999): {outbound.ErrHost, []string{"outbound.allow"}},
	} {
		client := open(t, outbound.Options{Allow: []string{"169.254.169.254", "::ffff:169.254.169.254", "fe80::1"}})
		_, err := client.Transport.RoundTrip(httptest.NewRequest(http.MethodGet, url, nil))
		var unsent interface {
			NotSent() bool
			RetryableError() bool
		}
		if !errors.Is(err, c.kind) || !errors.As(err, &unsent) || !unsent.NotSent() || unsent.RetryableError() {
			t.Errorf("%s: %v", url, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) || len(err.Error()) > 500 {
				t.Errorf("%s: it does not say %s: %v", url, want, err)
			}
		}
	}
}

// What a proxy variable names would be dialled in place of the host, unseen.
func TestS24ProxyVariablesAreIgnored(t *testing.T) {
	proxied := false
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { proxied = true })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	c := open(t, outbound.Options{Allow: []string{"*"}, AllowPlaintext: true})
	if _, err := get(t, c, "http://169.254.169.254/"); !errors.Is(err, outbound.ErrAddress) {
		t.Errorf("got %v", err)
	}
	if proxied {
		t.Error("the proxy was asked")
	}
}

func TestPlainTextOnlyToThisMachine(t *testing.T) {
	c := open(t, local())
	for _, url := range []string{"http://issuer.example/", "http://10.0.0.1/", "ftp://issuer.example/"} {
		if _, err := get(t, c, url); !errors.Is(err, outbound.ErrPlaintext) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, system := range []bool{false, true} {
		c := open(t, local(func(o *outbound.Options) { o.CAFile, o.SystemRoots = ca, system }))
		response, err := c.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.ProtoMajor != 2 {
			t.Errorf("spoke %s", response.Proto)
		}
	}
	if _, err := get(t, open(t, local()), s.URL); err == nil {
		t.Error("a certificate that nobody signed was taken")
	}

	old := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11}
	old.Config.ErrorLog = nil
	old.StartTLS()
	t.Cleanup(old.Close)
	oldCA := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(oldCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: old.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, open(t, local(func(o *outbound.Options) { o.CAFile = oldCA })), old.URL); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}

// TestCertificate: a server that asks gets the certificate of that moment, and one whose
// certificate cannot be had is not talked to.
func TestCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%d", len(r.TLS.PeerCertificates))
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var fails error
	asked := 0
	with := open(t, local(func(o *outbound.Options) {
		o.CAFile = file
		o.Certificate = func() (*tls.Certificate, error) { asked++; return &s.TLS.Certificates[0], fails }
	}))
	without := open(t, local(func(o *outbound.Options) { o.CAFile = file }))
	for client, want := range map[*http.Client]string{with: "1", without: "0"} {
		if got, err := get(t, client, s.URL); err != nil || got != want {
			t.Errorf("%q certificates, want %s: %v", got, want, err)
		}
	}
	with.CloseIdleConnections()
	fails = errors.New("no such file")
	if _, err := get(t, with, s.URL); !errors.Is(err, fails) || asked != 2 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestBrokenCAFiles(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, filepath.Join(t.TempDir(), "absent.pem")} {
		if _, err := outbound.Client(local(func(o *outbound.Options) { o.CAFile = file })); err == nil || !strings.Contains(err.Error(), "CA file") {
			t.Errorf("%s: %v", file, err)
		}
	}
}
