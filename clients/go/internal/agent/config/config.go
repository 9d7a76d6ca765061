// Package config is what an agent is told: by one file, by the environment, or by both.
package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/caller"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/file"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/ops"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/proxy"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/strictyaml"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
)

// Where the agent listens unless it is told otherwise.
const (
	DefaultOps   = "127.0.0.1:9909" // its state
	DefaultProxy = "127.0.0.1:9902"
)

// maxFile bounds the file, in bytes.
const maxFile = 1 << 20

// Config is cambio-agent.yaml, whole. It holds no secret, only the names of files that do.
type Config struct {
	URL      string                     `yaml:"url"`     // the server's
	CAFile   string                     `yaml:"ca_file"` // PEM of the CAs to trust in the system's place; read when the configuration is
	Identity caller.Settings            `yaml:"identity"`
	Client   caller.Client              `yaml:"client"`
	Ops      Ops                        `yaml:"ops"`
	Targets  map[string]target.Settings `yaml:"targets"`
	Doors    door.Settings              `yaml:"doors"`
	Files    file.Settings              `yaml:"files"`
	Proxy    proxy.Settings             `yaml:"proxy"`
}

// Ops is the listener of package ops.
type Ops struct {
	Listen string `yaml:"listen"` // of loopback; "off": none. Default: DefaultOps
}

// Off is the value of ops.listen that means no listener.
const Off = "off"

// Read reads the file, unless its name is empty, fills what it leaves out from the
// environment, lets amend change it, unless that is nil, and checks all of it. The error
// is strictyaml.Faults, or that of amend.
func Read(path string, env Environment, amend func(*Config) error) (*Config, error) {
	var source []byte
	if path != "" {
		var err error
		if source, err = bounded(path); err != nil {
			return nil, strictyaml.Faults{{File: path, Message: err.Error()}}
		}
	}
	return Parse(path, source, env, amend)
}

// Parse is Read of a file that was read.
func Parse(path string, source []byte, env Environment, amend func(*Config) error) (*Config, error) {
	c := &Config{}
	d := strictyaml.Decode(path, source, c)
	env.fill(c)
	if amend != nil && len(d.Faults()) == 0 {
		if err := amend(c); err != nil {
			return nil, err
		}
	}
	if c.Ops.Listen == "" {
		c.Ops.Listen = DefaultOps
	}
	if c.Proxy.Listen == "" && len(c.Proxy.Routes) > 0 {
		c.Proxy.Listen = DefaultProxy
	}
	if len(d.Faults()) == 0 { // what could not be read cannot be checked
		c.check(d, path != "")
	}
	if faults := d.Faults(); len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

func bounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		var inner *os.PathError
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	defer f.Close()
	source, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, errors.New("cannot be read: is it a file?")
	}
	return source, nil
}

// AddTarget names a target, if it has no settings yet.
func (c *Config) AddTarget(name string) {
	if name == "" {
		return
	}
	if c.Targets == nil {
		c.Targets = map[string]target.Settings{}
	}
	if _, ok := c.Targets[name]; !ok {
		c.Targets[name] = target.Settings{}
	}
}

// check finds what cannot work, all of it.
func (c *Config) check(d *strictyaml.Document, fromFile bool) {
	if c.URL == "" {
		text := "give the server's URL, or set CAMBIO_URL"
		if !fromFile {
			text = "set CAMBIO_URL to the server's URL, or give a file with --config"
		}
		d.Reject("url", text)
	} else if err := caller.CheckURL(c.URL); err != nil {
		d.Reject("url", err.Error())
	}
	add := func(room string, faults []error) {
		reject := rejecter(d, room)
		for _, fault := range faults {
			reject(fault)
		}
	}
	add("identity", c.Identity.Check())
	names := slices.Sorted(maps.Keys(c.Targets))
	for _, name := range names {
		checkTarget(name, c.Targets[name], rejecter(d, "targets."+name))
	}
	add("client", c.Client.Check())
	add("doors", c.Doors.Check(names))
	add("files", c.Files.Check(names))
	add("proxy", c.Proxy.Check(names))
	if c.Ops.Listen != Off && !ops.Loopback(c.Ops.Listen) {
		d.Reject("ops.listen", fmt.Sprintf("%q is not an address of this machine alone: write 127.0.0.1:9909, or off", c.Ops.Listen))
	}
}

// rejecter takes faults that begin with their key below room.
func rejecter(d *strictyaml.Document, room string) func(error) {
	return func(fault error) {
		key, message, ok := strings.Cut(fault.Error(), ": ")
		switch {
		case !ok || strings.ContainsAny(key, " \t"):
			d.Reject(room, fault.Error())
		case strings.HasPrefix(key, "["):
			d.Reject(room+key, message)
		default:
			d.Reject(room+"."+key, message)
		}
	}
}

func checkTarget(name string, s target.Settings, reject func(error)) {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }) {
		reject(errors.New("a name of a target has no blank and no slash"))
	}
	if s.Audience != "" && s.Resource != "" {
		reject(errors.New("resource: give audience or resource, not both"))
	}
	if s.Lifetime < 0 || s.Lifetime%time.Second != 0 {
		reject(errors.New("lifetime: it is in whole seconds, such as 15m"))
	}
	if len(s.Reason) > 512 || strings.ContainsFunc(s.Reason, func(r rune) bool { return r < ' ' }) {
		reject(errors.New("reason: it is one line of at most 512 bytes"))
	}
	for i, scope := range s.Scopes {
		if scope == "" || strings.ContainsAny(scope, " \t\n\"\\") {
			reject(fmt.Errorf("scopes[%d]: a scope has no blank, quote or backslash", i))
		}
	}
}
