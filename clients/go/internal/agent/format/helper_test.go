package format_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/docker/docker-credential-helpers/client"
	"github.com/docker/docker-credential-helpers/credentials"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/format"
)

func TestPlaceCheck(t *testing.T) {
	for _, p := range places {
		if err := p.Check(); err != nil {
			t.Errorf("%s: %v", p.Host, err)
		}
	}
	for says, p := range map[string]format.Place{
		"host: name one":           {Target: "t"},
		"host: \"https://a\"":      {Host: "https://a", Target: "t"},
		"host: \"a/b\"":            {Host: "a/b", Target: "t"},
		"host: \"u@a\"":            {Host: "u@a", Target: "t"},
		"host: \"a b\"":            {Host: "a b", Target: "t"},
		"host: \":443\"":           {Host: ":443", Target: "t"},
		"path: \"a/../b\"":         {Host: "a", Path: "a/../b", Target: "t"},
		"path: \"a//b\"":           {Host: "a", Path: "a//b", Target: "t"},
		"username: it holds":       {Host: "a", Username: "a\nb", Target: "t"},
		"target: name one":         {Host: "a"},
		"path: \"a%2fb\" is no pa": {Host: "a", Path: "a%2fb", Target: "t"},
	} {
		fails(t, p.Check(), says)
	}
}

// asked is one call of a helper: what it prints, and how its error reads; empty: there is none.
type asked struct{ name, action, asked, want, says string }

// answers calls a helper as git and docker do.
func answers(t *testing.T, helper func(context.Context, string, io.Reader, []format.Place, format.Get) ([]byte, error), c asked) {
	t.Helper()
	got, err := helper(t.Context(), c.action, strings.NewReader(c.asked), places, get)
	if string(got) != c.want {
		t.Errorf("got %q, want %q", got, c.want)
	}
	if c.says != "" {
		fails(t, err, c.says)
	} else if err != nil {
		t.Error(err)
	}
}

func TestGit(t *testing.T) {
	expiry := "password_expiry_utc=" + strconv.FormatInt(until.Unix(), 10) + "\n"
	for _, c := range []asked{
		{"a host", "get", "protocol=https\nhost=code.example\n\n", "username=deploy\npassword=" + secret + "-code\n" + expiry, ""},
		{"no empty line at the end", "get", "protocol=https\nhost=CODE.example:443", "username=deploy\npassword=" + secret + "-code\n" + expiry, ""},
		{"attributes of later versions", "get", "capability[]=authtype\nprotocol=https\nhost=code.example\nwwwauth[]=Basic realm=\"x=y\"\n\n", "username=deploy\npassword=" + secret + "-code\n" + expiry, ""},
		{"the user of the URL", "get", "protocol=https\nhost=ghcr.example\nusername=me\n", "username=me\npassword=" + secret + "-registry\n" + expiry, ""},
		{"another user", "get", "protocol=https\nhost=code.example\nusername=me\n", "", ""},
		{"a path", "get", "protocol=https\nhost=git.example\npath=org/one.git\n", "username=x-access-token\npassword=" + secret + "-one\n" + expiry, ""},
		{"below a path", "get", "protocol=https\nhost=git.example\npath=team/repo.git\n", "username=x-access-token\npassword=" + secret + "-team\n" + expiry, ""},
		{"a path that begins alike", "get", "protocol=https\nhost=git.example\npath=teamwork/repo.git\n", "", ""},
		{"a path that climbs", "get", "protocol=https\nhost=git.example\npath=team/../other/repo.git\n", "", ""},
		{"an encoded path", "get", "protocol=https\nhost=git.example\npath=team/%2e%2e/other\n", "", ""},
		{"no path", "get", "protocol=https\nhost=git.example\n", "", "useHttpPath true"},
		{"a lease", "get", "protocol=https\nhost=db.example\n", "username=v-app\npassword=" + secret + "\n" + expiry, ""},
		{"another host", "get", "protocol=https\nhost=other.example\n", "", ""},
		{"a host below", "get", "protocol=https\nhost=x.code.example\n", "", ""},
		{"another port", "get", "protocol=https\nhost=code.example:444\n", "", ""},
		{"a carriage return", "get", "protocol=https\nhost=code.example\r\n", "", ""},
		{"in clear", "get", "protocol=http\nhost=code.example\n", "", ""},
		{"in clear to this machine", "get", "protocol=http\nhost=127.0.0.1:3000\n", "username=x-access-token\npassword=" + secret + "-local\n" + expiry, ""},
		{"ssh", "get", "protocol=ssh\nhost=code.example\n", "", ""},
		{"a certificate", "get", "protocol=cert\npath=/x\n", "", ""},
		{"two hosts", "get", "protocol=https\nhost=code.example\nhost=other.example\n", "", "host twice"},
		{"after the end", "get", "protocol=https\nhost=other.example\n\nhost=code.example\n", "", ""},
		{"no lines of attributes", "get", "hello\n", "", "key=value"},
		{"no protocol", "get", "host=code.example\n", "", "no protocol"},
		{"nothing", "get", "", "", "no protocol"},
		{"a NUL", "get", "protocol=https\nhost=code.example\x00\n", "", "key=value"},
		{"too much", "get", "protocol=https\nhost=" + strings.Repeat("a", 64<<10), "", "65536 bytes"},
		{"two lines of password", "get", "protocol=https\nhost=evil.example\n", "", "control characters"},
		{"no server", "get", "protocol=https\nhost=down.example\n", "", "away"},
		{"store", "store", "protocol=https\nhost=code.example\nusername=a\npassword=" + secret + "\n", "", ""},
		{"erase", "erase", "protocol=https\nhost=code.example\npassword=" + secret + "\n", "", ""},
		{"what comes later", "capability", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) { answers(t, format.Git, c) })
	}
}

// git itself asks, by a helper that is this binary.
func TestGitByGit(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	config := "[credential]\n\thelper = !CAMBIO_FORMAT_TEST=git " + self + "\n\tuseHttpPath = true\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	git := func(action, asked string) (string, error) {
		command := exec.CommandContext(t.Context(), "git", "credential", action)
		command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C"}
		command.Stdin = strings.NewReader(asked)
		out, err := command.Output()
		return string(out), err
	}
	for asked, want := range map[string]string{
		"url=https://git.example/org/one.git\n\n":  "password=" + secret + "-one\n",
		"url=https://git.example/team/x/y.git\n\n": "password=" + secret + "-team\n",
		"url=https://deploy@code.example/any\n\n":  "username=deploy\npassword=" + secret + "-code\n",
		"protocol=https\nhost=db.example\n\n":      "username=v-app\n",
		"protocol=http\nhost=127.0.0.1:3000\n\n":   "password=" + secret + "-local\n",
	} {
		got, err := git("fill", asked)
		if err != nil || !strings.Contains(got, want) {
			t.Errorf("%q: %v: git says %q", asked, err, got)
		}
	}
	for _, asked := range []string{
		"url=https://git.example/other/repo\n\n", "url=https://other.example/x\n\n", "url=http://code.example/x\n\n",
		"url=https://me@code.example/x\n\n", "url=https://evil.example/x\n\n", "url=https://down.example/x\n\n",
	} {
		if got, err := git("fill", asked); err == nil || strings.Contains(got, "vended-secret-") {
			t.Errorf("%q: git says %q", asked, got)
		}
	}
	for _, action := range []string{"approve", "reject"} {
		if _, err := git(action, "protocol=https\nhost=code.example\nusername=a\npassword=b\n\n"); err != nil {
			t.Errorf("%s: %v", action, err)
		}
	}
}

func TestDocker(t *testing.T) {
	for _, c := range []asked{
		{"a registry", "get", "ghcr.example", `{"ServerURL":"ghcr.example","Username":"oauth2accesstoken","Secret":"` + secret + `-registry"}` + "\n", ""},
		{"by its URL", "get", "https://ghcr.example/v2/\n", `{"ServerURL":"https://ghcr.example/v2/","Username":"oauth2accesstoken","Secret":"` + secret + `-registry"}` + "\n", ""},
		{"the hub", "get", "https://index.docker.io/v1/", `{"ServerURL":"https://index.docker.io/v1/","Username":"house","Secret":"` + secret + `-hub"}` + "\n", ""},
		{"this machine", "get", "http://127.0.0.1:3000", `{"ServerURL":"http://127.0.0.1:3000","Username":"oauth2accesstoken","Secret":"` + secret + `-local"}` + "\n", ""},
		{"in clear", "get", "http://ghcr.example", "credentials not found in native keychain\n", "not found"},
		{"another", "get", "other.example", "credentials not found in native keychain\n", "not found"},
		{"a user in front", "get", "https://ghcr.example@other.example", "credentials not found in native keychain\n", "not found"},
		{"a place with a path is git's", "get", "git.example", "credentials not found in native keychain\n", "not found"},
		{"no URL", "get", "https://%zz", "credentials not found in native keychain\n", "not found"},
		{"nothing", "get", "", "no credentials server URL\n", "server URL"},
		{"too much", "get", strings.Repeat("a", 64<<10+1), "the request has more than 65536 bytes\n", "65536"},
		{"no server", "get", "down.example", "the server is away\n", "away"},
		{"erase", "erase", "ghcr.example", "", ""},
		{"another action", "open", "", "no action is called \"open\": docker calls get, store, erase and list\n", "open"},
		{"list", "list", "unused", `{"127.0.0.1:3000":"oauth2accesstoken","code.example":"deploy","db.example":"oauth2accesstoken","down.example":"oauth2accesstoken","evil.example":"oauth2accesstoken","ghcr.example":"oauth2accesstoken","https://index.docker.io/v1/":"house"}` + "\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) { answers(t, format.Docker, c) })
	}
}

// Docker's own client runs this binary.
func TestDockerByItsClient(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := client.NewShellProgramFuncWithEnv(self, &map[string]string{"CAMBIO_FORMAT_TEST": "docker"})
	got, err := client.Get(program, "https://ghcr.example")
	if err != nil || got.Username != "oauth2accesstoken" || got.Secret != secret+"-registry" {
		t.Errorf("%v: not what was vended", err)
	}
	if got, err := client.Get(program, "db.example"); err != nil || got.Username != "v-app" || got.Secret != secret {
		t.Errorf("%v: not the lease", err)
	}
	if _, err := client.Get(program, "other.example"); !credentials.IsErrCredentialsNotFound(err) {
		t.Errorf("%v: docker would stop here", err)
	}
	if _, err := client.Get(program, ""); err == nil || !strings.Contains(err.Error(), "no credentials server URL") {
		t.Errorf("%v", err)
	}
	if list, err := client.List(program); err != nil || list["ghcr.example"] == "" {
		t.Errorf("%v: %v", err, list)
	}
	if err := client.Erase(program, "ghcr.example"); err != nil {
		t.Error(err)
	}
	fails(t, client.Store(program, &credentials.Credentials{ServerURL: "ghcr.example", Username: "u", Secret: secret}), "nothing is stored")
}

// stuck is a stdin that fails.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, errors.New("the pipe broke") }

func TestHelpersReadOfABrokenPipe(t *testing.T) {
	_, err := format.Git(t.Context(), "get", stuck{}, places, get)
	fails(t, err, "the pipe broke")
	_, err = format.Docker(t.Context(), "get", stuck{}, places, get)
	fails(t, err, "the pipe broke")
}

func FuzzGit(f *testing.F) {
	f.Add([]byte("protocol=https\nhost=code.example\nusername=deploy\n\n"))
	f.Add([]byte("protocol=https\nhost=git.example\npath=team/../x\n"))
	f.Add([]byte("protocol=http\nhost=127.0.0.1:3000\nhost=x\n"))
	f.Fuzz(func(t *testing.T, asked []byte) {
		got, err := format.Git(context.Background(), "get", bytes.NewReader(asked), places, get)
		if err != nil && got != nil {
			t.Error("an error and an answer")
		}
		if n := bytes.Count(got, []byte("\n")); n != 0 && n != 3 {
			t.Errorf("%q has %d lines", got, n)
		}
		head, _, _ := strings.Cut(string(asked), "\n\n")
		if len(got) != 0 && !strings.Contains("\n"+strings.ToLower(head), "\nhost=") {
			t.Errorf("%q has no host and gets an answer", asked)
		}
	})
}

func FuzzDocker(f *testing.F) {
	f.Add("https://ghcr.example/v1/")
	f.Add("index.docker.io")
	f.Add("http://[::1]:5000")
	f.Fuzz(func(t *testing.T, server string) {
		got, err := format.Docker(context.Background(), "get", strings.NewReader(server), places, get)
		if err == nil && !strings.Contains(strings.ToLower(server), ".example") && !strings.Contains(strings.ToLower(server), "docker.io") && !strings.Contains(server, "127.0.0.1:3000") {
			t.Errorf("%q gets an answer of %d bytes", server, len(got))
		}
	})
}
