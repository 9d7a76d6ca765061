package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/format"
)

// Settings are the files of an agent.
type Settings []Entry

// Entry is one file, or with OCI three.
type Entry struct {
	// Path of the file. Its folder has to be there, and writable: the new content is
	// written beside the old.
	Path string `yaml:"path"`
	// Target is what is written; a template names its targets itself.
	Target string `yaml:"target"`

	Format   string `yaml:"format"`   // plain (default), json, credential-process, dotenv, shell
	Field    string `yaml:"field"`    // of a JSON credential: see format.Field
	Variable string `yaml:"variable"` // of dotenv and shell: see format.Variables

	// Template is the whole content, in the language of text/template, with the
	// functions token "TARGET", field "TARGET" "NAME", expires "TARGET", and json,
	// shell and base64 of a text. TemplateFile holds it; it is read at the start.
	Template     string `yaml:"template"`
	TemplateFile string `yaml:"template_file"`

	// OCI writes what SDKs of Oracle read: Path is the session token.
	OCI *OCI `yaml:"oci"`

	Mode  Mode   `yaml:"mode"`  // octal; default 0600
	Owner string `yaml:"owner"` // name or number; default: the agent's user
	Group string `yaml:"group"` // name or number; default: the agent's group

	// RemoveExpired removes the file when its credential died and there is no other.
	RemoveExpired bool `yaml:"remove_expired"`
	// OnChange is what is done after the content changed; once for all files that
	// changed together and have the same.
	OnChange *OnChange `yaml:"on_change"`
}

// OCI is where the configuration and the key of a session token go. The key is made here,
// never leaves this machine, and stays the same over renewals and restarts: SDKs read it
// once.
type OCI struct {
	ConfigFile string `yaml:"config_file"` // default: "config" beside the token
	KeyFile    string `yaml:"key_file"`    // default: "key.pem" beside the token
	Profile    string `yaml:"profile"`     // default: DEFAULT
	Region     string `yaml:"region"`      // default: the target's
	Tenancy    string `yaml:"tenancy"`     // default: the token's
}

// Mode is a file's permissions, which YAML has in octal, with quotes or without.
type Mode os.FileMode

// UnmarshalYAML reads 0640, 0o640, "0640".
func (m *Mode) UnmarshalYAML(text []byte) error {
	digits := strings.TrimPrefix(strings.Trim(strings.TrimSpace(string(text)), `"'`), "0o")
	mode, err := strconv.ParseUint(digits, 8, 32)
	if err != nil || digits[0] != '0' && len(digits) > 3 {
		return errors.New("a mode is written in octal, such as 0640")
	}
	*m = Mode(mode)
	return nil
}

func (m Mode) perm() os.FileMode {
	if m == 0 {
		return 0o600
	}
	return os.FileMode(m)
}

// Check finds all faults that can be seen before anything is asked or written.
func (s *Settings) Check(targets []string) []error {
	var faults []error
	taken := map[string]int{}
	for i := range *s {
		e := &(*s)[i]
		for _, fault := range e.check(targets) {
			faults = append(faults, fmt.Errorf("[%d].%w", i, fault))
		}
		for _, path := range e.paths() {
			path = filepath.Clean(path)
			if other, twice := taken[path]; twice {
				faults = append(faults, fmt.Errorf("[%d].path: %s is written by [%d] already", i, path, other))
			}
			taken[path] = i
		}
	}
	return faults
}

// paths are all files of an entry.
func (e *Entry) paths() []string {
	switch {
	case e.Path == "":
		return nil
	case e.OCI != nil:
		return []string{e.OCI.key(e.Path), e.Path, e.OCI.config(e.Path)}
	}
	return []string{e.Path}
}

func (e *Entry) check(targets []string) []error {
	var faults []error
	fault := func(text string, parts ...any) { faults = append(faults, fmt.Errorf(text, parts...)) }
	switch {
	case e.Path == "":
		fault("path: name the file")
	case strings.ContainsFunc(e.Path, control), strings.HasSuffix(e.Path, "/"):
		fault("path: %q is no path of a file", e.Path)
	}
	templates := 0
	for _, text := range []string{e.Template, e.TemplateFile} {
		if text != "" {
			templates++
		}
	}
	formatted := e.Format != "" || e.Field != "" || e.Variable != ""
	switch {
	case templates == 2:
		fault("template_file: there is a template too: keep one")
	case templates == 1 && (e.Target != "" || formatted || e.OCI != nil):
		fault("template: a template names its targets itself: without target, format, field, variable and oci")
	case templates == 1:
		faults = append(faults, e.checkTemplate(targets)...)
	case e.Target == "":
		fault("target: name one, or write a template")
	case !slices.Contains(targets, e.Target):
		fault("target: no target is called %q", e.Target)
	}
	switch {
	case e.OCI != nil && formatted:
		fault("oci: the token has one format: without format, field and variable")
	case e.OCI != nil:
		faults = append(faults, e.OCI.check()...)
	case e.Format == format.ExecCredential:
		fault("format: kubectl asks a command and reads no file: use `cambio-agent token`")
	case templates == 0:
		if err := (format.Options{Field: e.Field, Variable: e.Variable}).Check(e.kind()); err != nil {
			fault("format: %w", err)
		}
	}
	if mode := e.Mode.perm(); mode&^0o777 != 0 || mode&0o400 == 0 || mode&0o002 != 0 {
		fault("mode: %04o: the owner reads it, not everybody writes it, and there is no further bit", uint32(mode))
	}
	if e.OnChange != nil {
		for _, err := range e.OnChange.check() {
			fault("on_change.%w", err)
		}
	}
	return faults
}

func (e *Entry) kind() string {
	if e.Format == "" {
		return format.Plain
	}
	return e.Format
}

func control(r rune) bool { return r < ' ' || r == 0x7f }
