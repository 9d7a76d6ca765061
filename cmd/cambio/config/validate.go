package config

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

var (
	secretName   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	hostName     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
)

// at reports a fault at a key, wherever its value came from.
func (r *reader) at(key, format string, args ...any) {
	f := Fault{Key: key, Message: fmt.Sprintf(format, args...)}
	for where := key; ; {
		if p, ok := r.origin[where]; ok {
			f.Env, f.Line, f.Column = p.env, p.line, p.column
			if p.env == "" {
				f.File = r.file
			}
			break
		}
		i := strings.LastIndexAny(where, ".[")
		if i < 0 {
			break
		}
		where = where[:i]
	}
	if slices.ContainsFunc(r.faults, func(other Fault) bool { return other.Key == key }) {
		return // what could not even be read is said once
	}
	r.faults = append(r.faults, f)
}

func (r *reader) validate(c *Config) {
	r.issuer(c.Issuer)
	r.listeners(c)
	r.store(c.Store)
	r.seal(c.Seal)
	r.secrets(c.Secrets)
	if c.Policy.Dir == "" {
		r.at("policy.dir", "name the folder of the policy files")
	}
	r.between("policy.reload", c.Policy.Reload, 100*time.Millisecond, time.Hour)
	for key, algorithm := range map[string]string{"keys.access": c.Keys.Access, "keys.federation": c.Keys.Federation} {
		r.oneOf(key, algorithm, "ES256", "RS256", "EdDSA")
	}
	r.between("keys.rotate", c.Keys.Rotate, time.Hour, 10*365*24*time.Hour)
	for i, host := range c.Outbound.Allow {
		if err := allowPattern(host); err != nil {
			r.at(fmt.Sprintf("outbound.allow[%d]", i), "%s", err)
		}
	}
	r.standIns(c)
	for i, p := range c.TrustedProxies {
		if p.IsValid() && p.Bits() == 0 {
			r.at(fmt.Sprintf("trusted_proxies[%d]", i), "%s would believe everybody: name the proxies", p)
		}
	}
	if n := c.Limits.RequestBytes; n < 1024 || n > 16<<20 {
		r.at("limits.request_bytes", "between 1024 and 16777216 bytes, not %d", n)
	}
	r.between("limits.timeout", c.Limits.Timeout, 100*time.Millisecond, 2*time.Minute)
	if n := c.Limits.SubjectPerSecond; n <= 0 || n > 1e6 {
		r.at("limits.subject_per_second", "more than 0 and at most 1000000, not %g", n)
	}
	r.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	r.oneOf("log.format", c.Log.Format, "json", "text")
	if c.Trace.OTLP != "" {
		u, err := url.Parse(c.Trace.OTLP)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
			r.at("trace.otlp", "write the collector's URL, such as http://localhost:4318")
		}
	}
}

func (r *reader) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		r.at(key, "one of %s, not %q", strings.Join(allowed, ", "), value)
	}
}

func (r *reader) between(key string, value, least, most time.Duration) {
	if value < least || value > most {
		r.at(key, "between %s and %s, not %s", least, most, value)
	}
}

// issuer holds the issuer to a form that every verifier compares alike: OpenID
// Connect Discovery 1.0 §4 appends to it, and tokens carry it byte for byte.
func (r *reader) issuer(issuer string) {
	if issuer == "" {
		r.at("issuer", "name this service's own URL, such as https://cambio.example")
		return
	}
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		r.at("issuer", "%q is no URL: write https://cambio.example", issuer)
	case u.Scheme != "https" && !(u.Scheme == "http" && exchange.LoopbackHost(u.Hostname())):
		r.at("issuer", "must begin with https://, since clouds fetch its keys; http:// is for loopback only")
	case u.User != nil:
		r.at("issuer", "must hold no user name or password")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(issuer, "#"):
		r.at("issuer", "must have no query and no fragment")
	case strings.HasSuffix(issuer, "/"):
		r.at("issuer", "must not end with a slash: write %s", strings.TrimRight(issuer, "/"))
	case u.String() != issuer || u.Host != strings.ToLower(u.Host):
		r.at("issuer", "is compared byte for byte: write its host in lower case and escape nothing")
	}
}

func (r *reader) listeners(c *Config) {
	host := r.address("listen.address", c.Listen.Address)
	tls := c.Listen.TLS
	switch {
	case (tls.CertFile == "") != (tls.KeyFile == ""):
		r.at("listen.tls", "cert_file and key_file come together")
	case tls.CertFile != "" && c.Listen.Plaintext:
		r.at("listen.plaintext", "excludes listen.tls")
	case tls.CertFile == "" && !c.Listen.Plaintext && !exchange.LoopbackHost(host):
		r.at("listen.tls", "give cert_file and key_file, or say plaintext: true where something in front ends TLS, or listen on 127.0.0.1")
	}
	r.address("ops.address", c.Ops.Address)
	if c.Listen.Address == c.Ops.Address && !strings.HasSuffix(c.Ops.Address, ":0") {
		r.at("ops.address", "must differ from listen.address")
	}
}

func (r *reader) address(key, address string) (host string) {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		r.at(key, "%q is no host:port: write :8443 or 127.0.0.1:9090", address)
	}
	return host
}

func (r *reader) store(s Store) {
	switch {
	case s.Postgres.DSN.IsZero() && s.SQLite.Path == "":
		r.at("store", "name the database: postgres: {dsn: …} or sqlite: {path: …}")
	case !s.Postgres.DSN.IsZero() && s.SQLite.Path != "":
		r.at("store", "postgres and sqlite exclude each other")
	}
}

func (r *reader) seal(s Seal) {
	r.sealKey("seal.key", s.Key)
	if n := len(s.OldKeys); n > maxOldKeys {
		r.at("seal.old_keys", "%d keys are too many: at most %d; cambio keys reseal makes the old ones needless", n, maxOldKeys)
		return
	}
	seen := map[string]string{s.Key.Reveal(): "seal.key"}
	for i, old := range s.OldKeys {
		key := fmt.Sprintf("seal.old_keys[%d]", i)
		r.sealKey(key, old)
		if other, twice := seen[old.Reveal()]; twice && !old.IsZero() && !isReference(old.Reveal()) {
			r.at(key, "is the same key as %s: leave it out", other)
		}
		seen[old.Reveal()] = key
	}
}

// maxOldKeys bounds what a start has to derive.
const maxOldKeys = 16

func (r *reader) sealKey(name string, s exchange.Secret) {
	const advice = "32 bytes in base64 are wanted: openssl rand -base64 32"
	text := s.Reveal()
	if text == "" {
		r.at(name, "give the sealing key; %s", advice)
		return
	}
	if isReference(text) {
		return // its secret is at fault, and that is said there
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	switch {
	case err != nil:
		r.at(name, "is not base64; %s", advice)
	case len(key) != exchange.SealKeySize:
		r.at(name, "is %d bytes; %s", len(key), advice)
	case len(slices.Compact(slices.Clone(key))) == 1:
		r.at(name, "is one byte over and over, and so no secret; %s", advice)
	}
}

// SealKey is the decoded sealing key.
func (c *Config) SealKey() ([]byte, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(c.Seal.Key.Reveal())
	if err != nil {
		return nil, fmt.Errorf("decoding seal.key: not base64")
	}
	return key, nil
}

// OldSealKeys are the decoded keys that open and do not seal.
func (c *Config) OldSealKeys() ([][]byte, error) {
	var keys [][]byte
	for i, old := range c.Seal.OldKeys {
		key, err := base64.StdEncoding.Strict().DecodeString(old.Reveal())
		if err != nil {
			return nil, fmt.Errorf("decoding seal.old_keys[%d]: not base64", i)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (r *reader) secrets(secrets map[string]Source) {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		key, s := "secrets."+name, secrets[name]
		if !secretName.MatchString(name) {
			r.at(key, "a secret's name is lower-case letters, digits, - and _, and begins with a letter")
			continue
		}
		switch {
		case s.Env == "" && s.File == "":
			r.at(key, "say where it comes from: env: NAME or file: PATH")
		case s.Env != "" && s.File != "":
			r.at(key, "env and file exclude each other")
		case s.Env != "" && !variableName.MatchString(s.Env):
			r.at(key+".env", "%q is no name of an environment variable", s.Env)
		}
		for i, host := range s.Hosts {
			name := host
			if h, port, err := net.SplitHostPort(host); err == nil {
				if _, err := net.LookupPort("tcp", port); err == nil && port != "" {
					name = h
				}
			}
			if _, err := netip.ParseAddr(name); err != nil && !hostName.MatchString(name) {
				r.at(fmt.Sprintf("%s.hosts[%d]", key, i), "%q is no host: write auth.example or auth.example:8443, in lower case", host)
			}
		}
	}
}

// allowPattern checks one entry of outbound.allow.
func allowPattern(pattern string) error {
	if pattern == "*" {
		return nil
	}
	if _, err := netip.ParsePrefix(pattern); err == nil {
		return nil
	}
	if _, err := netip.ParseAddr(pattern); err == nil {
		return nil
	}
	if !hostName.MatchString(strings.TrimPrefix(pattern, "*.")) {
		return fmt.Errorf("%q is no host: write a name, *.name, an address, a CIDR prefix, or *", pattern)
	}
	return nil
}

// standIns keeps assertions for a vendor's own audience from whoever listens on this
// machine, where clouds may know the issuer (S2, S35).
func (r *reader) standIns(c *Config) {
	u, err := url.Parse(c.Issuer)
	local := err == nil && exchange.LoopbackHost(u.Hostname())
	for i, host := range c.Outbound.StandIns {
		key := fmt.Sprintf("outbound.stand_ins[%d]", i)
		_, err := netip.ParseAddr(host)
		switch {
		case err != nil && !hostName.MatchString(host):
			r.at(key, "%q is no host: write a name or an address, in lower case and without port", host)
		case exchange.LoopbackHost(host) && !local:
			r.at(key, "%s is where anybody on this machine may listen, and clouds may trust %s: stand-ins of this machine are for an issuer of this machine (S35)", host, c.Issuer)
		default:
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s: %s is sent assertions that open each account which trusts this issuer: never so in production", key, host))
		}
	}
}
