package vault

import (
	"errors"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// What a target issues. None of them is an OAuth token.
const (
	// TokenTypeSecret is one value, as it is.
	TokenTypeSecret exchange.TokenType = "urn:cambio:token-type:secret"
	// TokenTypeLease is a JSON object of lease_id, renewable and data.
	TokenTypeLease exchange.TokenType = "urn:cambio:token-type:vault-lease"
	// TokenTypeWrapping is a wrapping token, good for one call of sys/wrapping/unwrap.
	TokenTypeWrapping exchange.TokenType = "urn:cambio:token-type:vault-wrapping"
)

// defaultRefresh is at what age a static value is read again.
const defaultRefresh = 5 * time.Minute

// The methods of logging in.
const (
	MethodJWT        = "jwt"        // an assertion of this house's, made for the exchange
	MethodKubernetes = "kubernetes" // the caller's own service-account token, which came as passthrough_token
	MethodAppRole    = "approle"    // this house's own role id and secret id
)

// The kinds of path.
const (
	KindKV      = "kv"      // a value that stays as it is until somebody changes it
	KindDynamic = "dynamic" // credentials that the engine makes for each who asks
)

// How a path of kind dynamic is asked.
const (
	ReadPath  = "read"
	WritePath = "write"
)

// Settings are a target's settings under the key `vault`.
type Settings struct {
	Address   string `yaml:"address" json:"address" jsonschema:"required,description=https URL of Vault or OpenBao; http is taken for this machine alone"`
	Namespace string `yaml:"namespace,omitempty" json:"namespace,omitempty" jsonschema:"description=namespace that the login and the path are in"`
	Auth      Auth   `yaml:"auth,omitempty" json:"auth" jsonschema:"required,description=how to log in"`

	Path    string `yaml:"path" json:"path" jsonschema:"required,description=path as in the HTTP API without /v1/: secret/data/openai or database/creds/app"`
	Kind    string `yaml:"kind,omitempty" json:"kind,omitempty" jsonschema:"enum=kv,enum=dynamic,description=a value that stays or credentials that an engine makes; default kv"`
	Version int    `yaml:"version,omitempty" json:"version,omitempty" jsonschema:"enum=1,enum=2,description=of the KV engine; default 2"`
	Field   string `yaml:"field,omitempty" json:"field,omitempty" jsonschema:"description=the one field that is handed out; without it all of them are"`

	Method       string            `yaml:"method,omitempty" json:"method,omitempty" jsonschema:"enum=read,enum=write,description=with dynamic: how the path is asked; default read"`
	Parameters   map[string]string `yaml:"parameters,omitempty" json:"parameters,omitempty" jsonschema:"description=with dynamic: what is sent along"`
	TTL          time.Duration     `yaml:"ttl,omitempty" json:"ttl,omitempty" jsonschema:"description=with dynamic: longest life that is asked for"`
	TTLParameter string            `yaml:"ttl_parameter,omitempty" json:"ttl_parameter,omitempty" jsonschema:"description=with dynamic: name of the parameter by which the engine takes a life; without it a lease is shortened once it is there"`

	Wrap       time.Duration `yaml:"wrap,omitempty" json:"wrap,omitempty" jsonschema:"description=hand out a wrapping token that lives so long in place of the value"`
	Refresh    time.Duration `yaml:"refresh,omitempty" json:"refresh,omitempty" jsonschema:"description=with kv: age at which the value is read again; default 5m"`
	MayOutlive bool          `yaml:"may_outlive,omitempty" json:"may_outlive,omitempty" jsonschema:"description=hand out what lives longer than the exchange may give; every value of kv does"`
}

// Auth says how to log in.
type Auth struct {
	Method string `yaml:"method,omitempty" json:"method,omitempty" jsonschema:"enum=jwt,enum=kubernetes,enum=approle,description=by an assertion of this house's or the caller's service-account token or this house's AppRole; default jwt"`
	Mount  string `yaml:"mount,omitempty" json:"mount,omitempty" jsonschema:"description=where the auth method is mounted; default its name"`
	Role   string `yaml:"role,omitempty" json:"role,omitempty" jsonschema:"description=with jwt and kubernetes: role to log in as"`

	Audience string   `yaml:"audience,omitempty" json:"audience,omitempty" jsonschema:"description=with jwt: aud of the assertion; one that the role is bound to"`
	Subject  []string `yaml:"subject,omitempty" json:"subject,omitempty" jsonschema:"description=with jwt: what follows <tenant>:<target> in the assertion's sub: subject or names of attributes; default subject"`

	RoleID   string             `yaml:"role_id,omitempty" json:"role_id,omitempty" jsonschema:"description=with approle: the role's id"`
	SecretID provider.SecretRef `yaml:"secret_id,omitempty" json:"secret_id,omitempty" jsonschema:"description=with approle: its secret id: ${secret:NAME}"`
}

// Kind registers the provider.
func Kind() provider.Kind {
	return provider.Kind{Name: "vault", New: func() provider.Config { return new(Settings) }}
}

// Open makes the driver.
func (s *Settings) Open(d provider.Deps) (provider.Driver, error) {
	switch {
	case d.HTTP == nil:
		return nil, errors.New("a vault target needs a way out, and there is none")
	case s.Auth.method() == MethodJWT && d.Asserter == nil:
		return nil, errors.New("a vault target with the jwt method needs the federation issuer, and there is none")
	case s.Auth.method() == MethodAppRole && d.Secret == nil:
		return nil, errors.New("a vault target with an AppRole needs the house's secrets, and there are none")
	}
	c, err := newCore(s, d)
	if err != nil {
		return nil, err
	}
	if s.kind() == KindKV {
		return &static{c}, nil
	}
	return &dynamic{c}, nil
}

// Facts says what the core must know.
func (s *Settings) Facts() exchange.Facts {
	f := exchange.Facts{
		Method: s.kind() + "_" + s.Auth.method(), MayOutlive: s.MayOutlive, MaxTTL: s.TTL,
		Once: s.Wrap > 0, Types: []exchange.TokenType{TokenTypeLease},
	}
	switch {
	case s.Wrap > 0:
		f.Types[0] = TokenTypeWrapping
	case s.Field != "":
		f.Types[0] = TokenTypeSecret
	}
	return f
}

func (s *Settings) kind() string {
	if s.Kind == "" {
		return KindKV
	}
	return s.Kind
}

func (s *Settings) refresh() time.Duration {
	if s.Refresh > 0 {
		return s.Refresh
	}
	return defaultRefresh
}

func (a *Auth) method() string {
	if a.Method == "" {
		return MethodJWT
	}
	return a.Method
}

func (a *Auth) mount() string {
	if a.Mount == "" {
		return a.method()
	}
	return a.Mount
}

func (a *Auth) subject() []string {
	if len(a.Subject) == 0 {
		return []string{"subject"}
	}
	return a.Subject
}
