package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
	"github.com/cambio-sts/cambio/store/sqlite"
)

// office is a folder with a configuration, whose sealing keys are files.
type office struct {
	t       *testing.T
	dir     string
	environ []string
	cluster *cluster
}

func newOffice(t *testing.T, database string, environ ...string) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir(), environ: environ}
	if err := os.Mkdir(filepath.Join(o.dir, "policy"), 0o700); err != nil {
		t.Fatal(err)
	}
	o.cluster = newCluster(t, filepath.Join(o.dir, "policy", "keys.json"))
	o.write("policy/policy.yaml", realPolicy)
	for _, name := range []string{"a", "b"} {
		o.write("seal-"+name, base64.StdEncoding.EncodeToString([]byte(rand.Text()[:26]+rand.Text()[:6]))+"\n")
	}
	const head = "issuer: https://cambio.example\nlisten: {address: \"127.0.0.1:0\"}\nops: {address: \"127.0.0.1:0\"}\n"
	const secrets = "secrets: {db: {env: DATABASE_URL}, a: {file: seal-a}, b: {file: seal-b}}\n"
	for name, seal := range map[string]string{
		"a": `{key: "${secret:a}"}`, "b": `{key: "${secret:b}"}`,
		"ab": `{key: "${secret:a}", old_keys: ["${secret:b}"]}`, "ba": `{key: "${secret:b}", old_keys: ["${secret:a}"]}`,
	} {
		o.write(name+".yaml", head+"store: "+database+"\nseal: "+seal+"\n"+secrets)
	}
	return o
}

func (o *office) write(name, text string) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) run(stdin string, args ...string) (stdout, stderr string, status int) {
	o.t.Helper()
	cmd := exec.Command("cambio", args...)
	cmd.Dir, cmd.Env, cmd.Stdin = o.dir, append(os.Environ(), o.environ...), strings.NewReader(stdin)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the status says it
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// done runs a command that has to succeed.
func (o *office) done(args ...string) string {
	o.t.Helper()
	stdout, stderr, status := o.run("", args...)
	if status != 0 {
		o.t.Fatalf("cambio %s: exit status %d\n%s%s", strings.Join(args, " "), status, stdout, stderr)
	}
	return stdout
}

func (o *office) serve(config string) *process {
	o.t.Helper()
	return start(o.t, o.dir, o.environ, "serve", "--config", config+".yaml")
}

// exchange gets an access token, and returns it.
func (o *office) exchange(p *process) string {
	o.t.Helper()
	stdout, stderr, status := o.run(o.cluster.token("llm", "gateway"), "exchange", "--url", p.ready.URL, "--target", "mcp")
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || status != 0 {
		o.t.Fatalf("exchange: exit status %d\n%s%s\n%s", status, stdout, stderr, p.stderr.String())
	}
	return answer.Token
}

// verifies reports whether a token verifies against the key set of a server.
func verifies(p *process, token string) error {
	resp, err := http.Get(p.ready.URL + "/oauth2/jwks")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		return err
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return err
	}
	_, err = signed.Verify(set)
	return err
}

// listed are the keys as the list shows them.
func (o *office) listed(config string) []keyRow {
	o.t.Helper()
	var rows []keyRow
	for line := range strings.Lines(o.done("keys", "list", "--config", config+".yaml", "--output", "json")) {
		var row keyRow
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			o.t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// TestSealingKeyChangesWithoutDowntime walks the operator's way from one sealing
// key to another on PostgreSQL, with a replica that serves at every step.
func TestSealingKeyChangesWithoutDowntime(t *testing.T) {
	database := pgtest.Start(t, pgtest.Durable()).NewDatabase(t)
	o := newOffice(t, `{postgres: {dsn: "${secret:db}"}}`, "DATABASE_URL="+database.ServiceDSN(), "CAMBIO_OWNER_DSN="+database.OwnerDSN())
	o.done("migrate", "--config", "a.yaml")
	one := o.serve("a")
	token := o.exchange(one)
	checked := func(p *process, when string) {
		t.Helper()
		if err := verifies(p, token); err != nil {
			t.Errorf("%s the first token does not verify: %v", when, err)
		}
		if err := verifies(p, o.exchange(p)); err != nil {
			t.Errorf("%s a new token does not verify: %v", when, err)
		}
	}
	// Both keys at every replica first, then the new one in front.
	two := o.serve("ab")
	checked(two, "with the key to come")
	one.stop()
	three := o.serve("ba")
	checked(three, "with the new key in front")
	for _, k := range o.listed("ba") {
		if k.State != "signing" || k.SealedBy != "seal.old_keys[0]" || len(k.SealedUnder) != 16 {
			t.Errorf("before the reseal: %+v", k)
		}
	}
	// What is added now is under the new key, and the replica before it reads that.
	rotated := o.done("keys", "rotate", "--config", "ba.yaml", "--purpose", "federation")
	if !strings.Contains(rotated, "is published now and signs from ") {
		t.Error(rotated)
	}
	if again := o.done("keys", "rotate", "--config", "ba.yaml", "--purpose", "federation"); !strings.Contains(again, "nothing was added") {
		t.Error(again)
	}
	if stdout := o.done("keys", "reseal", "--config", "ba.yaml", "--dry-run"); !strings.Contains(stdout, "to be resealed") || !strings.Contains(stdout, ": 2 signing keys, 0 leases") {
		t.Error(stdout)
	}
	if stdout := o.done("keys", "reseal", "--config", "ba.yaml"); !strings.Contains(stdout, ": 2 signing keys, 0 leases") {
		t.Error(stdout)
	}
	if stdout := o.done("keys", "reseal", "--config", "ba.yaml"); !strings.Contains(stdout, ": 0 signing keys, 0 leases") {
		t.Error("once more:", stdout)
	}
	checked(two, "after the reseal, with the old key in front,")
	checked(three, "after the reseal")
	two.stop()
	four := o.serve("b")
	checked(four, "with the new key alone")
	var states []string
	for _, k := range o.listed("b") {
		states = append(states, k.Purpose+" "+k.State+" "+k.SealedBy)
	}
	slices.Sort(states)
	if want := []string{"access signing seal.key", "federation next seal.key", "federation signing seal.key"}; !slices.Equal(states, want) {
		t.Errorf("the keys are %v, want %v", states, want)
	}
	if _, stderr, status := o.run("", "serve", "--config", "a.yaml"); status != statusFault || !strings.Contains(stderr, "put the earlier key into seal.old_keys") {
		t.Errorf("with the old key alone: exit status %d, %s", status, stderr)
	}
	// S4: a row that is moved opens nowhere, and is neither used nor sealed anew.
	database.Exec(t, pgtest.OwnerRole, "insert into cambio.keys (purpose, kid, algorithm, sealed, publish_at, sign_at) "+
		"select 'federation', 'swapped', algorithm, sealed, publish_at, sign_at from cambio.keys where purpose = 'access' limit 1")
	if stdout, stderr, status := o.run("", "keys", "reseal", "--config", "ab.yaml"); status != statusFault || !strings.Contains(stderr, "swapped") {
		t.Errorf("a swapped row: exit status %d\n%s%s", status, stdout, stderr)
	}
	if rows := o.listed("ab"); rows[len(rows)-1].State != "refused" || rows[len(rows)-1].Fault == "" {
		t.Errorf("a swapped row: %+v", rows[len(rows)-1])
	}
	// A key that others have: what it signed dies.
	stdout, stderr, status := o.run("", "keys", "rotate", "--config", "ab.yaml", "--purpose", "access", "--revoke-old")
	if status != 0 || !strings.Contains(stderr, "dies now") || !strings.Contains(stdout, "signs now; every earlier access key is withdrawn") {
		t.Errorf("exit status %d\n%s%s", status, stdout, stderr)
	}
	five := o.serve("ab")
	if err := verifies(five, token); err == nil {
		t.Error("a token of a withdrawn key verifies")
	}
	if err := verifies(five, o.exchange(five)); err != nil {
		t.Error("a token of the new key:", err)
	}
	// A rotation, two of a reseal, two of the other, and the revocation.
	database.Exec(t, pgtest.OwnerRole, "select 1 / (count(*) = 6)::int from cambio.events where type = 15 and record->>'reason' like 'cambio keys %'")
	for _, p := range []*process{three, four, five} {
		p.stop()
	}
	for _, p := range []*process{one, two, three, four, five} {
		for _, name := range []string{"seal-a", "seal-b"} {
			if key, err := os.ReadFile(filepath.Join(o.dir, name)); err != nil || strings.Contains(p.stderr.String(), strings.TrimSpace(string(key))) {
				t.Error("S39: a log holds a sealing key", err)
			}
		}
	}
}

// TestResealSurvivesAKill: the process dies between two batches; the next run does
// the rest, and everything opens under the new key alone.
func TestResealSurvivesAKill(t *testing.T) {
	o := newOffice(t, "{sqlite: {path: cambio.db}}")
	o.done("migrate", "--config", "a.yaml")
	p := o.serve("a")
	token := o.exchange(p)
	if _, stderr, status := o.run("", "keys", "list", "--config", "a.yaml"); status != statusUnreachable || !strings.Contains(stderr, "stop it, run this command, and start it again") {
		t.Errorf("beside a server on SQLite: exit status %d, %s", status, stderr)
	}
	p.stop()

	file := filepath.Join(o.dir, "cambio.db")
	const leases = 3 * 500
	old, fresh := o.sealer("seal-a"), o.sealer("seal-b")
	var ids []exchange.ID
	o.inStore(file, func(s *sqlite.Store) {
		var entries []ledger.Entry
		now := time.Now()
		for range leases {
			id, err := exchange.NewID(now, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			sealed, err := old.Seal("lease", id.String(), []byte("revokes "+id.String()))
			if err != nil {
				t.Fatal(err)
			}
			e, err := ledger.NewEntry(exchange.Event{ID: id, Exchange: id, Tenant: "default", Type: exchange.EventIssued, At: now})
			if err != nil {
				t.Fatal(err)
			}
			e.Lease = &exchange.Lease{ID: id, Tenant: "default", Exchange: id, Sealed: sealed, Issued: now, Expires: now.Add(time.Hour), State: exchange.LeaseActive}
			entries, ids = append(entries, e), append(ids, id)
		}
		for batch := range slices.Chunk(entries, 500) {
			if results, err := s.Append(t.Context(), batch); err != nil || results[0].Status != ledger.StatusInserted {
				t.Fatal(results[0], err)
			}
		}
	})

	session := exchange.Session{ID: ids[0], Tenant: "default", Exchange: ids[0], Target: "t", Subject: "s", Expires: time.Now().Add(time.Hour)}
	var err error
	if session.Sealed, err = old.Seal("session", session.ID.String(), []byte("signs")); err != nil {
		t.Fatal(err)
	}
	o.inStore(file, func(s *sqlite.Store) {
		if err := s.HoldSession(t.Context(), session); err != nil {
			t.Fatal(err)
		}
	})

	cmd := exec.Command("cambio", "keys", "reseal", "--config", "ba.yaml")
	cmd.Dir = o.dir
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(progress)
	for lines.Scan() && !strings.Contains(lines.Text(), "leases resealed: 500") {
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, progress)
	_ = cmd.Wait() // killed
	under := func(s *exchange.Sealer) (n int) {
		o.inStore(file, func(db *sqlite.Store) {
			for _, id := range ids {
				l, err := db.Lease(t.Context(), "default", id)
				if err != nil {
					t.Fatal(err)
				}
				if plain, err := s.Open("lease", id.String(), l.Sealed); err == nil && string(plain) == "revokes "+id.String() {
					n++
				}
			}
		})
		return n
	}
	killed := under(fresh)
	if n := under(old); n+killed != leases || killed < 500 {
		t.Errorf("after the kill %d leases open under the new key and %d under the old one, of %d", killed, n, leases)
	}
	rest := o.done("keys", "reseal", "--config", "ba.yaml")
	if want := fmt.Sprintf(", %d leases, 1 signing sessions", leases-killed); !strings.Contains(rest, want) {
		t.Errorf("the rest: %q, want %q", rest, want)
	}
	if n := under(fresh); n != leases {
		t.Errorf("%d of %d leases open under the new key", n, leases)
	}
	o.inStore(file, func(s *sqlite.Store) {
		held, err := s.Session(t.Context(), "default", session.ID)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := fresh.Open("session", session.ID.String(), held.Sealed); err != nil || string(plain) != "signs" {
			t.Errorf("the session opens to %q under the new key: %v", plain, err)
		}
	})
	last := o.serve("b")
	if err := verifies(last, token); err != nil {
		t.Error("the first token:", err)
	}
	if err := verifies(last, o.exchange(last)); err != nil {
		t.Error("a new token:", err)
	}
	last.stop()
}

func (o *office) sealer(name string) *exchange.Sealer {
	o.t.Helper()
	text, err := os.ReadFile(filepath.Join(o.dir, name))
	if err != nil {
		o.t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		o.t.Fatal(err)
	}
	s, err := exchange.NewSealer(rand.Reader, key)
	if err != nil {
		o.t.Fatal(err)
	}
	return s
}

func (o *office) inStore(file string, do func(*sqlite.Store)) {
	o.t.Helper()
	s, err := sqlite.Open(o.t.Context(), file, sqlite.Options{})
	if err != nil {
		o.t.Fatal(err)
	}
	defer s.Close()
	do(s)
}
