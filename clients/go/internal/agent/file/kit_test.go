package file_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/file"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
)

// TestMain is also the processes that the tests need: this binary, with the variable
// set.
func TestMain(m *testing.M) {
	switch os.Getenv("CAMBIO_FILE_TEST") {
	case "append": // the change is told: one line for it
		f, err := os.OpenFile(os.Args[1], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			os.Exit(3)
		}
		_, _ = fmt.Fprintf(f, "told %q of %q\n", os.Args[2:], os.Getenv("CAMBIO_TOKEN"))
		os.Exit(0)
	case "print": // what it is told to read, and a JWT of its own
		text, _ := os.ReadFile(os.Args[1])
		fmt.Printf("the token is %s, \x1b[31mand mine %s\n", text, jwt("another"))
		os.Exit(7)
	case "hang": // with a child that hangs too
		child, err := os.StartProcess(os.Args[0], os.Args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Env: []string{"CAMBIO_FILE_TEST=wait"}})
		if err != nil {
			os.Exit(3)
		}
		_ = os.WriteFile(os.Args[1], fmt.Appendf(nil, "%d", child.Pid), 0o600)
		select {}
	case "wait":
		select {}
	case "listen": // says when it is there, and each signal
		signals := make(chan os.Signal, 8)
		signal.Notify(signals, syscall.SIGHUP)
		fmt.Println("ready")
		for s := range signals {
			fmt.Println(s)
		}
	}
	os.Exit(m.Run())
}

// begin is when the tests begin.
var begin = time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)

// clock goes on when the test says so.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func jwt(subject string) string {
	part := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return part(map[string]string{"alg": "none"}) + "." + part(map[string]string{"sub": subject}) + ".c2lnbmF0dXJl"
}

// house is a Cambio server for a few targets.
type house struct {
	t       *testing.T
	server  *httptest.Server
	subject string

	mu    sync.Mutex
	life  time.Duration
	down  bool
	same  bool           // the same credential each time
	count map[string]int // exchanges by audience
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, subject: jwt("workload"), life: 10 * time.Minute, count: map[string]int{}}
	h.server = httptest.NewServer(h)
	t.Cleanup(h.server.Close)
	return h
}

func (h *house) set(change func(*house)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
}

func (h *house) exchanges(audience string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count[audience]
}

// secret is the nth credential of a target.
func (h *house) secret(audience string, n int) string {
	return fmt.Sprintf("vended-secret-%s-%d", audience, n)
}

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	audience := r.PostFormValue("audience")
	if r.URL.Path != "/oauth2/token" || r.PostFormValue("grant_type") != cambio.GrantType || r.PostFormValue("subject_token") != h.subject {
		h.t.Errorf("an exchange for %q that is none", audience)
	}
	h.count[audience]++
	n := h.count[audience]
	if h.same {
		n = 1
	}
	answer := map[string]any{"access_token": h.secret(audience, n), "token_type": "Bearer", "issued_token_type": cambio.TokenTypeAccessToken, "expires_in": h.life.Seconds()}
	whole := func(kind, value string) {
		answer["access_token"], answer["token_type"], answer["issued_token_type"] = value, "N_A", kind
	}
	switch audience {
	case "db":
		whole(cambio.TokenTypeVaultLease, fmt.Sprintf(`{"lease_id":"db/%d","renewable":false,"data":{"username":"v-app","password":%q}}`, n, h.secret(audience, n)))
	case "aws":
		whole(cambio.TokenTypeAWSCredentials, fmt.Sprintf(`{"Version":1,"AccessKeyId":"ASIATEST","SecretAccessKey":%q,"SessionToken":"session","Expiration":"2001-01-01T00:00:00Z"}`, h.secret(audience, n)))
	case "oci":
		if r.PostFormValue("public_key") == "" {
			h.t.Error("an OCI session for no key")
		}
		token := h.secret(audience, n)
		whole(cambio.TokenTypeOCIRPST, fmt.Sprintf(`{"token":%q,"key_id":%q,"region":"us-ashburn-1","tenancy":"ocid1.tenancy.oc1..aaaa"}`, token, "ST$"+token))
	case "closed":
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]any{"error": "invalid_target", "error_description": "ask somebody else"}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// desk is a room at work: its house, its clock, its log.
type desk struct {
	*house
	clock   *clock
	log     bytes.Buffer
	targets *target.Targets
	dir     string
	waits   chan time.Duration
	goOn    chan struct{}
	with    *file.Deps // nil: deps
}

func newDesk(t *testing.T) *desk {
	h := newHouse(t)
	d := &desk{house: h, clock: &clock{at: begin}, dir: t.TempDir(), waits: make(chan time.Duration), goOn: make(chan struct{})}
	client, err := cambio.New(h.server.URL, cambio.Static(cambio.NewSecret(h.subject), ""), cambio.WithClock(d.clock.Now, func() float64 { return 0 }))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]target.Settings{}
	for _, name := range []string{"gpt", "db", "aws", "oci", "closed"} {
		names[name] = target.Settings{}
	}
	d.targets = target.New(client, names)
	t.Cleanup(func() {
		for _, word := range []string{"vended-secret-", "eyJ", "PRIVATE KEY"} {
			if strings.Contains(d.log.String(), word) {
				t.Errorf("the log holds %s", word)
			}
		}
	})
	return d
}

func (d *desk) deps() file.Deps {
	return file.Deps{
		Targets: d.targets, Log: slog.New(slog.NewJSONHandler(&d.log, nil)), Now: d.clock.Now,
		Wait: func(ctx context.Context, wait time.Duration) bool {
			select {
			case d.waits <- wait:
			case <-ctx.Done():
				return false
			}
			select {
			case <-d.goOn:
				return true
			case <-ctx.Done():
				return false
			}
		},
	}
}

// settings reads YAML, in which DIR is the test's folder.
func (d *desk) settings(text string) file.Settings {
	d.t.Helper()
	var s file.Settings
	if err := yaml.UnmarshalWithOptions([]byte(strings.ReplaceAll(text, "DIR", d.dir)), &s, yaml.Strict()); err != nil {
		d.t.Fatal(err)
	}
	return s
}

func (d *desk) room(text string) *file.Room {
	d.t.Helper()
	deps := d.deps()
	if d.with != nil {
		deps = *d.with
	}
	r, err := file.New(d.settings(text), deps)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// run starts a room of one group, and returns once it waits for the first time. The
// returned function ends it.
func (d *desk) run(text string) (*file.Room, func()) {
	d.t.Helper()
	r := d.room(text)
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-d.waits
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Error(err)
		}
	}
}

// pass lets time pass, and returns when the room waits again, and for how long.
func (d *desk) pass(by time.Duration) time.Duration {
	d.clock.pass(by)
	d.goOn <- struct{}{}
	return <-d.waits
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

// has checks what a file of the test's folder holds.
func (d *desk) has(name, want string) {
	d.t.Helper()
	got, err := os.ReadFile(d.path(name))
	if err != nil || string(got) != want {
		d.t.Errorf("%s: %v\n got %q\nwant %q", name, err, got, want)
	}
}

func (d *desk) lines(name string) int {
	text, _ := os.ReadFile(d.path(name))
	return bytes.Count(text, []byte("\n"))
}

// tidy checks that nothing lies about but what should.
func (d *desk) tidy(names ...string) {
	d.t.Helper()
	found, err := os.ReadDir(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, entry := range found {
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+entry.Name()+" ") {
			d.t.Errorf("%s was left behind", entry.Name())
		}
	}
}

// self is this binary.
func self(t *testing.T) string {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func says(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("error %v\nshould say %q", err, text)
		}
	}
	if err != nil && strings.Contains(err.Error(), "vended-secret-") {
		t.Error("the error holds a secret")
	}
}
