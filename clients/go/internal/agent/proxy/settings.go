package proxy

import (
	"errors"
	"time"
)

// Settings of the proxy. Without routes there is none.
type Settings struct {
	Listen string `yaml:"listen"` // a loopback "host:port", or "unix:/path"
	// Expose takes an address that other machines reach; what stands in front does TLS.
	Expose bool `yaml:"expose"`
	// Hosts that a request may name, with the port if it has one, beside the
	// listener's own address and localhost.
	Hosts []string `yaml:"hosts"`
	// SecretFile is where the secret of this start is written, with mode 0600.
	SecretFile string   `yaml:"secret_file"`
	Callers    *Callers `yaml:"callers"` // of the routes that say nothing else
	Routes     []Route  `yaml:"routes"`
}

// Route is one upstream, and what may be asked of it.
type Route struct {
	Name     string `yaml:"name"`     // default: the provider
	Provider string `yaml:"provider"` // a preset for what is left out; see presets
	Prefix   string `yaml:"prefix"`   // of the path; default: "/" and the name
	Host     string `yaml:"host"`     // the Host of requests, in place of a prefix
	// Upstream is https, or http to this machine; its path goes before each request's.
	Upstream string `yaml:"upstream"`
	CAFile   string `yaml:"ca_file"` // trusted in place of the system's CAs
	Region   string `yaml:"region"`  // for presets that have one, in place of Upstream
	Target   string `yaml:"target"`
	Auth     *Auth  `yaml:"auth"` // default: bearer
	// Headers are set on what is sent. Values of a "-beta" header join the caller's.
	Headers map[string]string `yaml:"headers"`
	Methods []string          `yaml:"methods"` // default: GET and POST
	// Paths below the upstream's own: "*" is what a segment holds, "**" at the end is
	// one segment or more.
	Paths []string `yaml:"paths"`
	// EncodedSlash lets %2F through, as part of its segment.
	EncodedSlash bool     `yaml:"encoded_slash"`
	Upgrades     []string `yaml:"upgrades"` // such as websocket; default: none
	Callers      *Callers `yaml:"callers"`
	Cookies      Cookies  `yaml:"cookie_passthrough"`
	Gateway      *Gateway `yaml:"gateway"`
	Limits       Limits   `yaml:"limits"`
}

// Callers says who may call: one of its fields.
type Callers struct {
	Any    bool     // whoever reaches the listener
	Secret bool     // who sends the secret of this start as its API key
	UIDs   []uint32 // users of this machine, by a unix socket
}

// UnmarshalYAML takes "any", "secret", or {uids: […]}.
func (c *Callers) UnmarshalYAML(unmarshal func(any) error) error {
	var word string
	if unmarshal(&word) == nil {
		switch word {
		case "any":
			*c = Callers{Any: true}
			return nil
		case "secret":
			*c = Callers{Secret: true}
			return nil
		}
		return errors.New("write any, secret, or {uids: [1000]}")
	}
	var users struct {
		UIDs []uint32 `yaml:"uids"`
	}
	if unmarshal(&users) != nil || len(users.UIDs) == 0 {
		return errors.New("write any, secret, or {uids: [1000]}")
	}
	*c = Callers{UIDs: users.UIDs}
	return nil
}

// Auth says how the credential goes on a request: one of its fields.
type Auth struct {
	Bearer bool
	Header string // the header of an API key
	AWS    *AWS
	OCI    *OCI
}

// AWS is a SigV4 signature.
type AWS struct {
	Service string `yaml:"service"`
	Region  string `yaml:"region"` // default: the route's
	// UnsignedPayload signs all but the body, which then streams. Few services take
	// it, S3 among them.
	UnsignedPayload bool `yaml:"unsigned_payload"`
}

// OCI is a signature of Oracle's, with a key that the agent makes and keeps.
type OCI struct{}

// UnmarshalYAML takes "bearer", {header: …}, {aws: …} or {oci: {}}.
func (a *Auth) UnmarshalYAML(unmarshal func(any) error) error {
	var word string
	if unmarshal(&word) == nil {
		if word != "bearer" {
			return errors.New("write bearer, {header: x-api-key}, {aws: {service: …, region: …}} or {oci: {}}")
		}
		*a = Auth{Bearer: true}
		return nil
	}
	var kinds struct {
		Header string `yaml:"header"`
		AWS    *AWS   `yaml:"aws"`
		OCI    *OCI   `yaml:"oci"`
	}
	if err := unmarshal(&kinds); err != nil {
		return errors.New("write bearer, {header: x-api-key}, {aws: {service: …, region: …}} or {oci: {}}")
	}
	*a = Auth{Header: kinds.Header, AWS: kinds.AWS, OCI: kinds.OCI}
	return nil
}

// signs reports whether the body is covered, and so is held first.
func (a *Auth) signs() bool { return a.OCI != nil || a.AWS != nil && !a.AWS.UnsignedPayload }

// kinds counts the fields that are set.
func (a *Auth) kinds() int {
	n := 0
	for _, set := range []bool{a.Bearer, a.Header != "", a.AWS != nil, a.OCI != nil} {
		if set {
			n++
		}
	}
	return n
}

// Cookies of the user that the upstream gets to see.
type Cookies struct {
	Enabled bool     `yaml:"enabled"`
	Names   []string `yaml:"cookie_names"`
	// Origin is where the cookies belong; default: the upstream's. It has to be the
	// upstream's, and written out for __Host- cookies, which belong to one host.
	Origin string `yaml:"origin"`
	// MaxUsers bounds for how many users connections are held at a time; default 64.
	MaxUsers int `yaml:"max_users"`
}

// Gateway verifies the caller's own token and asks for that user's credential.
type Gateway struct {
	Issuer         string         `yaml:"issuer"`
	Audience       string         `yaml:"audience"`
	JWKSURL        string         `yaml:"jwks_url"` // default: as discovered (OpenID Connect Discovery 1.0 §4)
	CAFile         string         `yaml:"ca_file"`
	ClockSkew      *time.Duration `yaml:"clock_skew"`      // default 30s, at most 5m
	Algorithms     []string       `yaml:"algorithms"`      // default RS256, ES256
	RequiredClaims map[string]any `yaml:"required_claims"` // a value, or a list of those that are good
	Act            *bool          `yaml:"act"`             // whether the agent is the actor; default yes
	MaxUsers       int            `yaml:"max_users"`       // whose credentials are kept; default 1024
}

// Limits of one route.
type Limits struct {
	MaxBody int64 `yaml:"max_body"` // bytes; default 256 MiB
	// Buffer is how much of a body is held: what is longer is not sent again after a
	// 401 (default 1 MiB), or is refused where it has to be signed (default 32 MiB).
	Buffer        int64          `yaml:"buffer"`
	HeaderTimeout *time.Duration `yaml:"header_timeout"` // until an answer begins; default 10m
	IdleTimeout   *time.Duration `yaml:"idle_timeout"`   // between its pieces; default 10m, of mcp none; 0: none
	Concurrent    int            `yaml:"concurrent"`     // requests at a time; default 256
}
