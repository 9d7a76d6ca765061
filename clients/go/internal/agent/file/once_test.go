package file_test

import (
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/file"
)

func TestOnceWritesEverything(t *testing.T) {
	d := newDesk(t)
	if err := os.WriteFile(d.path("x.tmpl"), []byte(`{{ (expires "gpt").Unix }}`), 0o600); err != nil {
		t.Fatal(err)
	}
	room := d.room(`
- {path: DIR/token, target: gpt}
- {path: DIR/password, target: db, field: password, mode: 0640}
- {path: DIR/aws.json, target: aws, format: credential-process, mode: "0400"}
- {path: DIR/env, target: gpt, format: dotenv, variable: OPENAI_API_KEY, mode: 0o644}
- path: DIR/config
  mode: 0600 # as secret as the token
  template: |
    {{ with $user := field "db" "username" }}dsn = {{ printf "postgres://%s:%s@db" $user (field "db" "password") }}{{ end }}
    gpt = {{ token "gpt" | json }} until {{ expires "gpt" }}
    header = {{ printf "x:%s" (token "gpt") | base64 }} {{ shell "it's" }}
- {path: DIR/end, template_file: DIR/x.tmpl}
`)
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	if err := room.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.has("token", d.secret("gpt", 1))
	d.has("password", d.secret("db", 1))
	d.has("aws.json", `{"Version":1,"AccessKeyId":"ASIATEST","SecretAccessKey":"`+d.secret("aws", 1)+`","SessionToken":"session","Expiration":"2031-05-06T07:18:09Z"}`+"\n")
	d.has("env", "OPENAI_API_KEY="+d.secret("gpt", 1)+"\n")
	d.has("config", "dsn = postgres://v-app:"+d.secret("db", 1)+"@db\ngpt = \""+d.secret("gpt", 1)+"\" until 2031-05-06T07:18:09Z\nheader = eDp2ZW5kZWQtc2VjcmV0LWdwdC0x 'it'\\''s'\n")
	d.has("end", "1935818289")
	for name, mode := range map[string]os.FileMode{"token": 0o600, "password": 0o640, "aws.json": 0o400, "env": 0o644, "config": 0o600} {
		if info, err := os.Stat(d.path(name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, err, info.Mode())
		}
	}
	d.tidy("token", "password", "aws.json", "env", "config", "x.tmpl", "end")
	for _, name := range []string{"gpt", "db", "aws"} {
		if n := d.exchanges(name); n != 1 {
			t.Errorf("%d exchanges for %s", n, name)
		}
	}
	for _, s := range room.Status() {
		if s.Fault != "" || !s.Written.Equal(begin) || !s.Expires.Equal(begin.Add(10*time.Minute)) || len(s.Targets) == 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestOnceReturnsEveryFault(t *testing.T) {
	d := newDesk(t)
	for _, err := range []error{
		os.Symlink("/etc/passwd", d.path("link")), os.Mkdir(d.path("folder"), 0o700), syscall.Mkfifo(d.path("pipe"), 0o600),
		os.WriteFile(d.path("file"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	room := d.room(`
- {path: DIR/good, target: gpt}
- {path: DIR/link, target: gpt}
- {path: DIR/folder, target: gpt}
- {path: DIR/pipe, target: gpt}
- {path: DIR/nowhere/token, target: gpt}
- {path: DIR/file/token, target: gpt}
- {path: /sys/cambio-token, target: gpt}
- {path: DIR/refused, target: closed}
- {path: DIR/field, target: db, field: pass}
- {path: DIR/process, target: gpt, format: credential-process}
- {path: DIR/oci, target: gpt, oci: {}}
- {path: DIR/name, template: '{{ field "db" (token "gpt") }}'}
- {path: DIR/index, template: '{{ index (token "gpt") 99 }}'}
- {path: DIR/large, template: '{{ range 2000000 }}x{{ end }}'}
- {path: DIR/deep, template: '{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}'}
- {path: DIR/range, template: '{{ range token "gpt" }}{{ end }}'}
- {path: DIR/call, template: '{{ printf "%s" (token "gpt") | token }}'}
- {path: DIR/key, template: '{{ .nothing.there }}{{ field "db" "nothing" }}'}
`)
	err := room.Once(t.Context())
	says(t, err,
		"files[1]: "+d.path("link")+": it is a symbolic link",
		"files[2]: "+d.path("folder")+": it is no file",
		"files[3]: "+d.path("pipe")+": it is no file",
		"files[4]: "+d.path("nowhere/token")+": there is no folder "+d.path("nowhere")+": make it",
		"files[5]: "+d.path("file/token")+": "+d.path("file")+" is no folder",
		"files[6]: /sys/cambio-token: ",
		"files[7]: cambio: invalid_target: ask somebody else",
		`files[8]: the credential has no field "pass", it has "password", "username"`,
		"files[9]: the target issues",
		"files[10]: oci: the target gives",
		"files[11]: ", "the name is no text of the template",
		"files[12]: ", "files[13]: ", "more than 1048576 bytes", "files[14]: ", "files[15]: ", "iterate over a text", "files[16]: ", "files[17]: ",
	)
	// The session of files[10] is an exchange of its own, which may have been the first.
	if text, err := os.ReadFile(d.path("good")); err != nil || string(text) != d.secret("gpt", 1) && string(text) != d.secret("gpt", 2) {
		t.Errorf("the good file: %v", err)
	}
	if target, err := os.Readlink(d.path("link")); err != nil || target != "/etc/passwd" {
		t.Error("the link was touched")
	}
	d.tidy("good", "link", "folder", "pipe", "file")
}

// The disk is full: a process of its own has room for files of eight bytes only.
func TestFullDisk(t *testing.T) {
	if os.Getenv("CAMBIO_FILE_TEST") == "full" {
		d := newDesk(t)
		d.dir = os.Getenv("CAMBIO_FILE_DIR")
		room := d.room(`[{path: DIR/token, target: gpt}]`)
		signal.Ignore(syscall.SIGXFSZ)
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		small := limit
		small.Cur = 8
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
			t.Fatal(err)
		}
		err := room.Once(t.Context())
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		says(t, err, "there is no room left in "+d.dir)
		return
	}
	d := newDesk(t)
	if err := os.WriteFile(d.path("token"), []byte("the old one"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), self(t), "-test.run=^TestFullDisk$")
	command.Env = append(os.Environ(), "CAMBIO_FILE_TEST=full", "CAMBIO_FILE_DIR="+d.dir)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d.has("token", "the old one")
	d.tidy("token")
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ entry, says string }{
		{`{target: gpt}`, "[0].path: name the file"},
		{`{path: a/, target: gpt}`, "[0].path: "},
		{`{path: "a\nb", target: gpt}`, "[0].path: "},
		{`{path: a}`, "[0].target: name one, or write a template"},
		{`{path: a, target: x}`, `[0].target: no target is called "x"`},
		{`{path: a, target: gpt, format: xml}`, `[0].format: no format is called "xml"`},
		{`{path: a, target: gpt, format: exec-credential}`, "[0].format: kubectl"},
		{`{path: a, target: gpt, format: json, field: x}`, "[0].format: a field"},
		{`{path: a, target: gpt, variable: A}`, "[0].format: a variable"},
		{`{path: a, target: gpt, template: x}`, "[0].template: a template names"},
		{`{path: a, template: x, template_file: y}`, "[0].template_file: there is a template too"},
		{`{path: a, template_file: /nowhere/at/all}`, "[0].template_file: open"},
		{`{path: a, template: '{{ token "x" }}'}`, `[0].template: no target is called "x"`},
		{`{path: a, template: '{{ if true }}{{ with $y := (expires "x").Unix }}{{ end }}{{ end }}'}`, `no target is called "x"`},
		{`{path: a, template: '{{ define "t" }}{{ range $i := 1 }}{{ else }}{{ field "x" "y" | json }}{{ end }}{{ end }}'}`, `no target is called "x"`},
		{`{path: a, template: '{{ env "HOME" }}'}`, `function "env" not defined`},
		{`{path: a, template: '{{ token'}`, "[0].template: "},
		{`{path: a, target: gpt, mode: 0666}`, "[0].mode: 0666"},
		{`{path: a, target: gpt, mode: 0060}`, "[0].mode: 0060"},
		{`{path: a, target: gpt, mode: 04600}`, "[0].mode: 4600"},
		{`{path: a, target: gpt, on_change: {}}`, "[0].on_change.command: name one"},
		{`{path: a, target: gpt, on_change: {command: [""]}}`, "[0].on_change.command: the first"},
		{`{path: a, target: gpt, on_change: {command: [a], signal: HUP}}`, "[0].on_change.signal: there is a command too"},
		{`{path: a, target: gpt, on_change: {pid_file: a}}`, "[0].on_change.signal: name one"},
		{`{path: a, target: gpt, on_change: {signal: HUP}}`, "[0].on_change.signal: name a pid_file or a process"},
		{`{path: a, target: gpt, on_change: {signal: HUP, pid_file: a, process: b}}`, "[0].on_change.signal: name a pid_file or a process"},
		{`{path: a, target: gpt, on_change: {signal: NO, pid_file: a}}`, "[0].on_change.signal: no signal"},
		{`{path: a, target: gpt, on_change: {signal: KILL, pid_file: a}}`, "[0].on_change.signal: no process"},
		{`{path: a, target: gpt, on_change: {signal: HUP, pid_file: a, timeout: 1s}}`, "[0].on_change.command: environment and timeout"},
		{`{path: a, target: gpt, on_change: {signal: HUP, process: a/b}}`, "[0].on_change.process: "},
		{`{path: a, target: gpt, on_change: {command: [a], timeout: 1h}}`, "[0].on_change.timeout: "},
		{`{path: a, target: gpt, on_change: {command: [a], environment: {"A=B": c}}}`, "[0].on_change.environment: "},
		{`{path: a, target: oci, format: json, oci: {}}`, "[0].oci: the token has one format"},
		{`{path: a, target: oci, oci: {region: "a\nkey_file=b"}}`, "[0].oci.region: "},
		{`{path: a, target: oci, oci: {profile: "a]"}}`, "[0].oci.profile: "},
		{`{path: a, target: oci, oci: {key_file: a}}`, "[0].path: a is written by [0] already"},
	} {
		d := newDesk(t)
		s := d.settings("- " + c.entry)
		faults := s.Check([]string{"gpt", "db", "oci"})
		found := false
		for _, fault := range faults {
			found = found || strings.Contains(fault.Error(), c.says)
		}
		if !found {
			t.Errorf("%s: %v\nshould say %q", c.entry, faults, c.says)
		}
		if _, err := file.New(s, d.deps()); err == nil {
			t.Errorf("%s: New takes it", c.entry)
		}
	}
	d := newDesk(t)
	for _, entry := range []string{`{path: a, target: gpt, owner: nobody-is-called-so}`, `{path: a, target: gpt, group: nobody-is-called-so}`} {
		_, err := file.New(d.settings("- "+entry), d.deps())
		says(t, err, "nobody-is-called-so")
	}
}
