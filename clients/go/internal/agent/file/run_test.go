package file_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/file"

	"github.com/prometheus/client_golang/prometheus"
)

// untilRenewal is how long a credential of ten minutes is used: its window of 120 s is
// longer or shorter by a fifth, and the tests' chance makes it shorter.
const untilRenewal = 10*time.Minute - 96*time.Second

// passUntil lets time pass by as much as the room asks for, until the time has come.
func (d *desk) passUntil(end time.Time) {
	for wait := time.Duration(0); d.clock.Now().Before(end); {
		wait = d.pass(min(max(wait, time.Second), end.Sub(d.clock.Now())))
	}
}

func TestRunRenewsAhead(t *testing.T) {
	d := newDesk(t)
	told := "on_change: {command: [" + self(t) + ", DIR/told, it's, $HOME], environment: {CAMBIO_FILE_TEST: append}}"
	t.Setenv("CAMBIO_TOKEN", "not for children")
	registry := prometheus.NewRegistry()
	deps := d.deps()
	deps.Registry = registry
	room, end := d.runWith(deps, `
- {path: DIR/one, target: gpt, `+told+`}
- {path: DIR/two, template: 'key={{ token "gpt" }}', `+told+`}
- {path: DIR/three, target: db, field: username, `+told+`}
`)
	d.has("told", "told [\"it's\" \"$HOME\"] of \"\"\n")
	d.passUntil(begin.Add(untilRenewal - time.Second))
	if n := d.exchanges("gpt"); n != 1 {
		t.Errorf("%d exchanges before it is time", n)
	}
	d.passUntil(begin.Add(untilRenewal))
	d.has("one", d.secret("gpt", 2))
	d.has("two", "key="+d.secret("gpt", 2))
	if d.exchanges("gpt") != 2 || d.exchanges("db") != 2 || d.lines("told") != 2 {
		t.Errorf("%d and %d exchanges, %d tellings", d.exchanges("gpt"), d.exchanges("db"), d.lines("told"))
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 2 { // nothing failed
		t.Errorf("%v: %d families", err, len(families))
	}
	// What is the same is not written, and not told of.
	d.set(func(h *house) { h.same, h.count = true, map[string]int{} })
	d.passUntil(begin.Add(2 * untilRenewal)) // the first again: that is another
	d.has("one", d.secret("gpt", 1))
	before, _ := os.Stat(d.path("one"))
	d.passUntil(begin.Add(4 * untilRenewal))
	after, _ := os.Stat(d.path("one"))
	if !os.SameFile(before, after) || d.lines("told") != 3 || d.exchanges("gpt") < 3 {
		t.Errorf("%d tellings, %d exchanges; the file may have been replaced for nothing", d.lines("told"), d.exchanges("gpt"))
	}
	if s := room.Status()[0]; s.Fault != "" || s.Expires.Before(d.clock.Now()) {
		t.Errorf("%+v", s)
	}
	end()
	if families, _ := registry.Gather(); len(families) != 0 {
		t.Error("metrics stay after the end")
	}
	d.has("one", d.secret("gpt", 1))
	d.tidy("one", "two", "three", "told")
}

// A file that somebody removed comes back, without an exchange.
func TestRunPutsBackWhatIsGone(t *testing.T) {
	d := newDesk(t)
	_, end := d.run(`[{path: DIR/token, target: gpt}]`)
	defer end()
	if err := os.Remove(d.path("token")); err != nil {
		t.Fatal(err)
	}
	d.passUntil(begin.Add(30 * time.Second))
	d.has("token", d.secret("gpt", 1))
	if n := d.exchanges("gpt"); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// A credential that somebody had rejected is replaced in the file too, without an
// exchange of its own.
func TestRunFollowsTheSource(t *testing.T) {
	d := newDesk(t)
	_, end := d.run(`[{path: DIR/token, target: gpt}]`)
	defer end()
	source, err := d.targets.Source("gpt")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Renew(t.Context(), cambio.NewSecret(d.secret("gpt", 1))); err != nil {
		t.Fatal(err)
	}
	d.passUntil(begin.Add(30 * time.Second))
	d.has("token", d.secret("gpt", 2))
	if n := d.exchanges("gpt"); n != 2 {
		t.Errorf("%d exchanges", n)
	}
}

func TestRunWhileTheServerIsDown(t *testing.T) {
	d := newDesk(t)
	d.set(func(h *house) { h.down = true })
	// Down at the start: what an earlier run left stays.
	if err := os.WriteFile(d.path("token"), []byte("of an earlier run"), 0o600); err != nil {
		t.Fatal(err)
	}
	room, end := d.run(`[{path: DIR/token, target: gpt, remove_expired: true}]`)
	defer end()
	d.has("token", "of an earlier run")
	if s := room.Status()[0]; !s.Written.IsZero() || s.Fault == "" {
		t.Errorf("%+v", s)
	}
	d.set(func(h *house) { h.down = false })
	d.passUntil(begin.Add(10 * time.Second))
	d.has("token", d.secret("gpt", 1))
	written := room.Status()[0].Written

	// Down later: what is good stays, and it is asked now and then.
	d.set(func(h *house) { h.down = true })
	d.passUntil(written.Add(10*time.Minute - time.Second))
	d.has("token", d.secret("gpt", 1))
	if s := room.Status()[0]; s.Fault == "" || !s.Written.Before(d.clock.Now().Add(-time.Minute)) {
		t.Errorf("%+v", s)
	}
	if strings.Contains(d.log.String(), "has died") {
		t.Error("it is not dead yet")
	}
	d.passUntil(written.Add(10*time.Minute + 30*time.Second))
	if _, err := os.Stat(d.path("token")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v: the dead token is there", err)
	}
	if n := strings.Count(d.log.String(), "has died"); n != 1 {
		t.Errorf("its death is said %d times", n)
	}
	// Up again.
	d.set(func(h *house) { h.down = false })
	d.passUntil(d.clock.Now().Add(time.Minute))
	d.has("token", d.secret("gpt", 2))
	if s := room.Status()[0]; s.Fault != "" {
		t.Errorf("%+v", s)
	}
	d.tidy("token")
}

// What somebody else put in the file's place is not removed, and without the setting
// nothing is.
func TestRunRemovesItsOwnOnly(t *testing.T) {
	for name, c := range map[string]struct {
		remove bool
		other  string
	}{"another's": {true, "another's"}, "without the setting": {false, ""}} {
		d := newDesk(t)
		_, end := d.run(`[{path: DIR/token, target: gpt, remove_expired: ` + strconv.FormatBool(c.remove) + `}]`)
		d.set(func(h *house) { h.down = true })
		want := d.secret("gpt", 1)
		d.passUntil(begin.Add(10*time.Minute - time.Second))
		if c.other != "" {
			want = c.other
			if err := os.WriteFile(d.path("token"), []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d.pass(2 * time.Second)
		d.has("token", want)
		end()
		if !strings.Contains(d.log.String(), "has died") {
			t.Errorf("%s: nothing is said", name)
		}
	}
}

// Bits that are not configured are taken away, and nobody is told of that.
func TestRunTightens(t *testing.T) {
	d := newDesk(t)
	if err := os.WriteFile(d.path("token"), []byte(d.secret("gpt", 1)), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(d.path("token"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, end := d.run(`[{path: DIR/token, target: gpt, on_change: {command: [` + self(t) + `, DIR/told], environment: {CAMBIO_FILE_TEST: append}}}]`)
	defer end()
	if info, err := os.Stat(d.path("token")); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v: %v", err, info.Mode())
	}
	d.tidy("token")
}

// The output of a command comes to the log without secrets, its failure is tried again,
// but not for ever.
func TestRunTellsThreeTimes(t *testing.T) {
	d := newDesk(t)
	_, end := d.run(`[{path: DIR/token, target: gpt, on_change: {command: [` + self(t) + `, DIR/token], environment: {CAMBIO_FILE_TEST: print}}}]`)
	d.passUntil(begin.Add(5 * time.Minute))
	end()
	if n := strings.Count(d.log.String(), "change not told"); n != 3 {
		t.Errorf("it failed %d times", n)
	}
	var line struct{ Output, Error string }
	for text := range strings.Lines(d.log.String()) {
		if strings.Contains(text, "change not told") {
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !strings.HasPrefix(line.Output, "the token is REDACTED,  [31mand mine REDACTED") || line.Error != "exit status 7" {
		t.Errorf("the log says %q, %q", line.Output, line.Error)
	}
}

// A real process is signalled, by its file and by its name, short and long.
func TestRunSignals(t *testing.T) {
	for _, c := range []struct{ name, by string }{
		{"cambio-listener", "pid_file: DIR/pid"},
		{"cambio-listn-" + strconv.Itoa(os.Getpid()%100), ""},
		{"cambio-listener-of-a-long-name-" + strconv.Itoa(os.Getpid()), ""},
	} {
		d := newDesk(t)
		if err := os.Symlink(self(t), d.path(c.name)); err != nil {
			t.Fatal(err)
		}
		process := exec.CommandContext(t.Context(), d.path(c.name))
		process.Env = append(os.Environ(), "CAMBIO_FILE_TEST=listen")
		out, err := process.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "ready" {
			t.Fatal("it does not start")
		}
		if err := os.WriteFile(d.path("pid"), []byte(strconv.Itoa(process.Process.Pid)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		by := c.by
		if by == "" {
			by = "process: " + c.name
		}
		_, end := d.run(`[{path: DIR/token, target: gpt, on_change: {signal: HUP, ` + by + `}}]`)
		if !strings.Contains(d.log.String(), "change told") {
			t.Errorf("%s: %s", c.name, d.log.String())
		} else if !lines.Scan() || lines.Text() != "hangup" {
			t.Errorf("%s: no signal came", c.name)
		}
		end()
		_ = process.Process.Kill()
		_ = process.Wait()
	}
}

func TestRunSignalsNobody(t *testing.T) {
	for pid, says := range map[string]string{
		"": "no number", "0": "no number", "-1": "no number", "1e3": "no number", strconv.Itoa(os.Getpid()): "no number",
		strings.Repeat("1", 40): "no number", "2000000000": "no such process",
	} {
		d := newDesk(t)
		if err := os.WriteFile(d.path("pid"), []byte(pid), 0o600); err != nil {
			t.Fatal(err)
		}
		_, end := d.run(`[{path: DIR/token, target: gpt, on_change: {signal: SIGHUP, pid_file: DIR/pid}}]`)
		end()
		if !strings.Contains(d.log.String(), says) {
			t.Errorf("%q: %s", pid, d.log.String())
		}
	}
	for on, says := range map[string]string{"pid_file: DIR/none": "not known", "process: cambio-nobody": "no process is called", "process: cambio-nobody-at-all": "no process is called"} {
		d := newDesk(t)
		_, end := d.run(`[{path: DIR/token, target: gpt, on_change: {signal: HUP, ` + on + `}}]`)
		end()
		if !strings.Contains(d.log.String(), says) {
			t.Errorf("%q: %s", on, d.log.String())
		}
	}
}

// runWith is run with other deps.
func (d *desk) runWith(deps file.Deps, text string) (*file.Room, func()) {
	d.t.Helper()
	d.with = &deps
	return d.run(text)
}
