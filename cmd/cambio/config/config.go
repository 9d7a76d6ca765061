package config

import (
	"net/netip"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Config is cambio.yaml, whole. Every key can be given as an environment variable
// instead, which then wins over the file.
type Config struct {
	// The URL that names this service: the `iss` of its access tokens, and with
	// /federation behind it the `iss` of its assertions. https, unless its host is a
	// loopback address; no trailing slash, query or fragment. Clouds pin it: it
	// never changes.
	Issuer string `yaml:"issuer"`
	// The port that callers use.
	Listen Listen `yaml:"listen"`
	// The port for metrics and probes. It has no authentication and holds no secret.
	Ops Ops `yaml:"ops"`
	// The database: exactly one of postgres and sqlite.
	Store Store `yaml:"store"`
	// The key under which everything at rest is sealed.
	Seal Seal `yaml:"seal"`
	// The folder of policy files.
	Policy Policy `yaml:"policy"`
	// The secrets that this file and the policy may name as ${secret:NAME}.
	// Optional.
	Secrets map[string]Source `yaml:"secrets"`
	// The signing keys.
	Keys Keys `yaml:"keys"`
	// What outgoing requests may reach.
	Outbound Outbound `yaml:"outbound"`
	// The proxies, as CIDR prefixes, whose X-Forwarded-For is believed. Optional:
	// without any, the TCP peer is the client.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// What one request, and one subject, may cost.
	Limits Limits `yaml:"limits"`
	// The process's log, on standard error.
	Log Log `yaml:"log"`
	// Traces.
	Trace Trace `yaml:"trace"`

	// Warnings are about environment variables that look like ours and are not, and
	// about settings that are dangerous.
	Warnings []string `yaml:"-"`
}

// Listen is where callers connect.
type Listen struct {
	// host:port; an empty host is every interface.
	Address string `yaml:"address" default:":8443"`
	// The certificate. Optional on a loopback address, or with plaintext.
	TLS TLS `yaml:"tls"`
	// Serve without TLS on an address that is not loopback, because something in
	// front ends TLS. Excludes tls.
	Plaintext bool `yaml:"plaintext" default:"false"`
}

// TLS is a certificate and its key; both files are read again when they change.
type TLS struct {
	// PEM file of the certificate chain, leaf first.
	CertFile string `yaml:"cert_file"`
	// PEM file of the private key.
	KeyFile string `yaml:"key_file"`
}

// Ops is the second port.
type Ops struct {
	// host:port of /metrics, /healthz and /readyz.
	Address string `yaml:"address" default:"127.0.0.1:9090"`
}

// Store is the database.
type Store struct {
	// PostgreSQL, for any number of replicas.
	Postgres Postgres `yaml:"postgres"`
	// SQLite, for one replica.
	SQLite SQLite `yaml:"sqlite"`
}

// Postgres is a PostgreSQL database.
type Postgres struct {
	// Connection string of the service's role, which is not the owner's: the one
	// that migrates may change what serve must not.
	DSN exchange.Secret `yaml:"dsn"`
}

// SQLite is a database file.
type SQLite struct {
	// Path of the file.
	Path string `yaml:"path"`
}

// Seal is the key at rest.
type Seal struct {
	// 32 random bytes in base64, as `openssl rand -base64 32` makes them. Whoever
	// has it and the database can sign as this service.
	Key exchange.Secret `yaml:"key"`
	// Further keys in the same form, which open what they sealed and seal nothing:
	// those before the present one, and one that is to come. Optional.
	OldKeys []exchange.Secret `yaml:"old_keys"`
}

// Policy is where the policy is.
type Policy struct {
	// The folder of *.yaml files.
	Dir string `yaml:"dir" default:"policy"`
	// How often it is looked at for changes.
	Reload time.Duration `yaml:"reload" default:"5s"`
}

// Source is where a secret comes from: exactly one of env and file.
type Source struct {
	// Name of the environment variable that holds it.
	Env string `yaml:"env"`
	// Path of the file that holds it; one newline at its end is dropped.
	File string `yaml:"file"`
	// The hosts, as host or host:port, that a target may send it to. Optional: a
	// secret without hosts is for this file only, and no policy can name it.
	Hosts []string `yaml:"hosts"`
}

// Keys says how signing keys are made.
type Keys struct {
	// Algorithm of access tokens: ES256, RS256 or EdDSA.
	Access string `yaml:"access" default:"ES256"`
	// Algorithm of assertions to clouds: ES256, RS256 or EdDSA.
	Federation string `yaml:"federation" default:"RS256"`
	// Age at which a key is replaced. The next key is published before its first
	// use, and the old one until its last token died.
	Rotate time.Duration `yaml:"rotate" default:"720h"`
}

// Outbound restricts outgoing requests: key sets, token reviews, providers.
type Outbound struct {
	// PEM file of further roots, beside the system's, for providers and for trusts
	// that name no ca_file of their own. Optional.
	CAFile string `yaml:"ca_file"`
	// The hosts that may be asked: a name, *.name, an address, or * for every one.
	// Loopback must be named besides. A CIDR prefix opens addresses that are
	// otherwise refused, such as link-local ones.
	Allow []string `yaml:"allow" default:"*"`
	// The hosts, without port, that stand in for a vendor's token endpoint in tests:
	// they too are sent assertions with an audience that the vendor fixed for all its
	// customers. Dangerous: whoever answers there can show such an assertion to the
	// vendor, and is let into each account that trusts this issuer. Optional.
	StandIns []string `yaml:"stand_ins"`
}

// Limits bounds work.
type Limits struct {
	// Greatest body of a request, in bytes.
	RequestBytes int64 `yaml:"request_bytes" default:"65536"`
	// Longest that one exchange may take.
	Timeout time.Duration `yaml:"timeout" default:"10s"`
	// Exchanges per second that one subject may ask of one replica.
	SubjectPerSecond float64 `yaml:"subject_per_second" default:"50"`
}

// Log is the process's log.
type Log struct {
	// debug, info, warn or error.
	Level string `yaml:"level" default:"info"`
	// json or text.
	Format string `yaml:"format" default:"json"`
}

// Trace is where traces go.
type Trace struct {
	// URL of an OTLP/HTTP collector, such as http://localhost:4318. Optional: no
	// tracing.
	OTLP string `yaml:"otlp"`
}
