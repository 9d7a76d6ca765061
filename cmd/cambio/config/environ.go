package config

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// prefix begins every environment variable that says what cambio.yaml says.
const prefix = "CAMBIO_"

// Variable is the environment variable of a key: listen.tls.cert_file is
// CAMBIO_LISTEN_TLS_CERT_FILE.
func Variable(key string) string {
	return prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// clientVariables are read by the operator's commands, not by the server.
var clientVariables = []string{"CAMBIO_URL", "CAMBIO_TOKEN_FILE", "CAMBIO_CA_FILE", "CAMBIO_TOKEN", "CAMBIO_OWNER_DSN"}

// serviceLinks are what Kubernetes puts into a pod beside a Service named cambio,
// or cambio-something.
var serviceLinks = regexp.MustCompile(`^CAMBIO_(([A-Z0-9_]+_)?SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|([A-Z0-9_]+_)?PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// overlay puts the environment over what the file said. An empty variable counts
// as unset.
func (r *reader) overlay(environ map[string]string, c *Config) {
	taken := map[string]bool{}
	r.overlayStruct("", environ, reflect.ValueOf(c).Elem(), taken)
	r.overlaySecrets(environ, c, taken)
	var known []string
	for _, k := range Keyring() {
		known = append(known, k.Variable)
	}
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		if !strings.HasPrefix(name, prefix) || taken[name] || environ[name] == "" ||
			slices.Contains(clientVariables, name) || serviceLinks.MatchString(name) || c.readsVariable(name) {
			continue
		}
		warning := name + " is set, and no key of cambio.yaml has that name"
		if n := nearest(name, known); n != "" {
			warning += "; did you mean " + n + "?"
		}
		c.Warnings = append(c.Warnings, warning)
	}
}

// readsVariable reports whether a secret comes from the variable.
func (c *Config) readsVariable(name string) bool {
	for _, s := range c.Secrets {
		if s.Env == name {
			return true
		}
	}
	return false
}

func (r *reader) overlayStruct(key string, environ map[string]string, v reflect.Value, taken map[string]bool) {
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		if name == "" || name == "-" || v.Field(i).Kind() == reflect.Map {
			continue
		}
		path := join(key, name)
		if f := v.Field(i); f.Kind() == reflect.Struct && f.Type() != secretType {
			r.overlayStruct(path, environ, f, taken)
			continue
		}
		r.overlayValue(path, Variable(path), environ, v.Field(i), taken)
	}
}

func (r *reader) overlayValue(path, variable string, environ map[string]string, v reflect.Value, taken map[string]bool) {
	text := environ[variable]
	taken[variable] = true
	if text == "" {
		return
	}
	r.origin[path] = place{env: variable}
	if err := setText(v, text); err != nil {
		r.faults = append(r.faults, Fault{Key: path, Env: variable, Message: err.Error()})
	}
}

// overlaySecrets reads CAMBIO_SECRETS_<NAME>_ENV, …_FILE and …_HOSTS. A name that
// the file does not list becomes a new secret, in lower case.
func (r *reader) overlaySecrets(environ map[string]string, c *Config, taken map[string]bool) {
	const stem = prefix + "SECRETS_"
	fields := fieldsOf(reflect.TypeFor[Source]())
	for _, variable := range slices.Sorted(maps.Keys(environ)) {
		rest, ok := strings.CutPrefix(variable, stem)
		if !ok {
			continue
		}
		for _, field := range fields.names {
			upper, ok := strings.CutSuffix(rest, "_"+strings.ToUpper(field))
			if !ok || upper == "" {
				continue
			}
			name := strings.ToLower(upper)
			for listed := range c.Secrets {
				if Variable("secrets."+listed) == stem+upper {
					name = listed
				}
			}
			source := c.Secrets[name]
			r.overlayValue(fmt.Sprintf("secrets.%s.%s", name, field), variable, environ,
				reflect.ValueOf(&source).Elem().Field(fields.index[field]), taken)
			if environ[variable] != "" {
				if c.Secrets == nil {
					c.Secrets = map[string]Source{}
				}
				c.Secrets[name] = source
			}
		}
	}
}
