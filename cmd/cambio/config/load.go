package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// maxSecret bounds the file of a secret, in bytes.
const maxSecret = 64 << 10

// Load reads the file, lays the environment over it, fetches the secrets and
// checks everything. The error is Faults: all of them, in one run. An empty file
// name means that the environment says it all.
func Load(file string, environ []string) (*Config, error) {
	var source []byte
	if file != "" {
		var err error
		if source, err = readBounded(file, maxFile+1); err != nil {
			return nil, Faults{{File: file, Message: "cannot be read: " + reason(err)}}
		}
	}
	return Parse(file, source, environ)
}

// Parse is Load for a file already read.
func Parse(file string, source []byte, environ []string) (*Config, error) {
	variables := variablesOf(environ)
	c, r := gather(file, source, variables)
	if len(r.faults) == 0 || !unreadable(r.faults) {
		r.resolve(c, variables)
		r.validate(c)
	}
	r.excerpts()
	slices.SortStableFunc(r.faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	return c, nil
}

// gather lays defaults, file and environment over one another.
func gather(file string, source []byte, variables map[string]string) (*Config, *reader) {
	c := &Config{}
	setDefaults(reflect.ValueOf(c).Elem())
	r := &reader{file: file, origin: map[string]place{}}
	r.decode(source, c)
	r.overlay(variables, c)
	return c, r
}

func variablesOf(environ []string) map[string]string {
	variables := make(map[string]string, len(environ))
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok {
			variables[name] = value
		}
	}
	return variables
}

// unreadable reports that the file could not be parsed, so that whatever else
// seems missing may stand in it.
func unreadable(faults Faults) bool {
	for _, f := range faults {
		if f.Key == "" && f.Env == "" {
			return true
		}
	}
	return false
}

// TargetSecrets names the secrets that policy may use: those bound to hosts (S20).
func (c *Config) TargetSecrets() []string {
	var names []string
	for name, s := range c.Secrets {
		if len(s.Hosts) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// resolve replaces ${secret:NAME} by what the secret holds.
func (r *reader) resolve(c *Config, variables map[string]string) {
	secrets := map[string]*exchange.Secret{"store.postgres.dsn": &c.Store.Postgres.DSN, "seal.key": &c.Seal.Key}
	for i := range c.Seal.OldKeys {
		secrets[fmt.Sprintf("seal.old_keys[%d]", i)] = &c.Seal.OldKeys[i]
	}
	for key, secret := range secrets {
		text := secret.Reveal()
		if !strings.Contains(text, "${") {
			continue
		}
		name, ok := reference(text)
		if !ok {
			r.at(key, "write ${secret:NAME}, alone: a secret stands only as a whole value")
			continue
		}
		source, ok := c.Secrets[name]
		if !ok {
			known := make([]string, 0, len(c.Secrets))
			for listed := range c.Secrets {
				known = append(known, listed)
			}
			message := fmt.Sprintf("there is no secrets.%s", name)
			if n := nearest(name, known); n != "" {
				message += fmt.Sprintf("; did you mean ${secret:%s}?", n)
			}
			r.at(key, "%s", message)
			continue
		}
		if (source.Env == "") == (source.File == "") {
			continue // validate says so, at the secret
		}
		value, err := source.read(variables)
		if err != nil {
			r.at(key, "secrets.%s: %s", name, err)
			continue
		}
		*secret = value
	}
}

// reference takes the name out of ${secret:NAME}.
func reference(text string) (name string, ok bool) {
	rest, ok := strings.CutPrefix(text, "${secret:")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(rest, "}")
	return name, ok && secretName.MatchString(name)
}

func isReference(text string) bool {
	_, ok := reference(text)
	return ok
}

// read fetches the secret. Its errors hold no value.
func (s Source) read(variables map[string]string) (exchange.Secret, error) {
	if s.Env != "" {
		if variables[s.Env] == "" {
			return exchange.Secret{}, fmt.Errorf("the environment variable %s is not set", s.Env)
		}
		return exchange.NewSecret(variables[s.Env]), nil
	}
	text, err := readBounded(s.File, maxSecret+1)
	switch {
	case err != nil:
		return exchange.Secret{}, fmt.Errorf("%s cannot be read: %s", s.File, reason(err))
	case len(text) > maxSecret:
		return exchange.Secret{}, fmt.Errorf("%s is larger than %d bytes", s.File, maxSecret)
	}
	value := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if value == "" {
		return exchange.Secret{}, fmt.Errorf("%s is empty", s.File)
	}
	return exchange.NewSecret(value), nil
}

func readBounded(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// reason is the cause without the path, which the fault names already.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// Defaults is a configuration of nothing but defaults. It is not valid by itself:
// issuer, store and seal have none.
func Defaults() *Config {
	c := &Config{}
	setDefaults(reflect.ValueOf(c).Elem())
	return c
}
