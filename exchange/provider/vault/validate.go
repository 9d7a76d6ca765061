package vault

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// Bounds on settings.
const (
	maxPath       = 512
	maxParameters = 32
	maxValue      = 4096
	minLife       = 5 * time.Second
	maxLife       = 30 * 24 * time.Hour
)

var (
	segmentForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@:+=,-]*$`)
	wordForm    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	fieldForm   = regexp.MustCompile(`^[^\x00-\x1f\x7f]{1,256}$`)
	textForm    = regexp.MustCompile(`^[\x20-\x7e]{1,256}$`)
)

// checkPath holds a path to plain segments: nothing in it can be read in two ways.
func checkPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("it has over %d bytes", maxPath)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if !segmentForm.MatchString(segment) {
			return fmt.Errorf("%q is no path as in the HTTP API, without /v1/ and without a slash at either end", path)
		}
	}
	return nil
}

// Validate returns every fault.
func (s *Settings) Validate() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := checkAddress(s.Address); err != nil {
		fault("address: %w", err)
	}
	if s.Namespace != "" {
		if err := checkPath(s.Namespace); err != nil {
			fault("namespace: %w", err)
		}
	}
	faults = append(faults, s.Auth.validate()...)
	switch first, _, _ := strings.Cut(s.Path, "/"); {
	case checkPath(s.Path) != nil:
		fault("path: %w", checkPath(s.Path))
	case slices.Contains([]string{"sys", "auth", "cubbyhole", "v1"}, first):
		fault("path: %q is no path of a secrets engine, as in secret/data/openai or database/creds/app", s.Path)
	}
	if s.Field != "" && !fieldForm.MatchString(s.Field) {
		fault("field: %q is no field's name", s.Field)
	}
	switch s.kind() {
	case KindKV:
		faults = append(faults, s.validateKV()...)
	case KindDynamic:
		faults = append(faults, s.validateDynamic()...)
	default:
		fault("kind: %q is neither %s nor %s", s.Kind, KindKV, KindDynamic)
	}
	if s.Wrap != 0 && (s.Wrap < minLife || s.Wrap > maxLife) {
		fault("wrap: between %s and %s", minLife, maxLife)
	}
	if s.Wrap != 0 && s.Field != "" {
		fault("wrap: Vault wraps its whole answer: leave out field")
	}
	return faults
}

func (s *Settings) validateKV() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch {
	case s.Version < 0 || s.Version > 2:
		fault("version: the KV engine has the versions 1 and 2")
	case s.Version != 1 && !strings.Contains(s.Path, "/data/"):
		fault("path: version 2 of the KV engine has its values under <mount>/data/…; for version 1, or another engine with values that stay, say version: 1")
	}
	if s.Refresh != 0 && (s.Refresh < time.Second || s.Refresh > maxLife) {
		fault("refresh: between 1s and %s", maxLife)
	}
	if !s.MayOutlive {
		fault("may_outlive: a value of kv lives on when the exchange's time is over: say may_outlive: true, or make it a path of kind dynamic")
	}
	if s.Method != "" || len(s.Parameters) > 0 || s.TTL != 0 || s.TTLParameter != "" {
		fault("kind: method, parameters, ttl and ttl_parameter are for dynamic")
	}
	return faults
}

func (s *Settings) validateDynamic() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if s.Version != 0 || s.Refresh != 0 {
		fault("kind: version and refresh are for kv")
	}
	if s.Method != "" && s.Method != ReadPath && s.Method != WritePath {
		fault("method: %q is neither %s nor %s", s.Method, ReadPath, WritePath)
	}
	if len(s.Parameters) > maxParameters {
		fault("parameters: at most %d", maxParameters)
	}
	for name, value := range s.Parameters {
		if !wordForm.MatchString(name) || len(value) > maxValue {
			fault("parameters: %q is no parameter's name, or its value has over %d bytes", name, maxValue)
		}
		if strings.Contains(value, "${secret:") {
			fault("parameters: %q: a secret does not go there", name)
		}
	}
	if s.TTL != 0 && (s.TTL < minLife || s.TTL > maxLife) {
		fault("ttl: between %s and %s", minLife, maxLife)
	}
	if s.TTLParameter != "" {
		if !wordForm.MatchString(s.TTLParameter) {
			fault("ttl_parameter: %q is no parameter's name", s.TTLParameter)
		}
		if _, twice := s.Parameters[s.TTLParameter]; twice {
			fault("ttl_parameter: %q is among parameters, too: a life is asked for in one way", s.TTLParameter)
		}
	}
	return faults
}

func (a *Auth) validate() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("auth."+format, args...)) }
	method := a.method()
	if !slices.Contains([]string{MethodJWT, MethodKubernetes, MethodAppRole}, method) {
		fault("method: %q is none of %s, %s and %s", method, MethodJWT, MethodKubernetes, MethodAppRole)
		return faults
	}
	if err := checkPath(a.mount()); err != nil {
		fault("mount: %w", err)
	}
	if needs := method != MethodAppRole; needs && !wordForm.MatchString(a.Role) {
		fault("role: name the role of the auth method to log in as")
	} else if !needs && a.Role != "" {
		fault("role: it is for jwt and kubernetes; an AppRole is named by role_id")
	}
	switch {
	case method != MethodJWT && (a.Audience != "" || len(a.Subject) > 0):
		fault("audience: audience and subject are for jwt")
	case method == MethodJWT && !textForm.MatchString(a.Audience):
		fault("audience: name an audience that the role is bound to, and that no other service takes")
	}
	for _, err := range provider.CheckSubjectNames(a.Subject) {
		fault("%w", err)
	}
	switch {
	case method != MethodAppRole && (a.RoleID != "" || a.SecretID != ""):
		fault("role_id: role_id and secret_id are for approle")
	case method == MethodAppRole && !textForm.MatchString(a.RoleID):
		fault("role_id: the role's id is missing")
	case method == MethodAppRole:
		if _, ok := a.SecretID.Name(); !ok {
			fault("secret_id: name a secret of the server's configuration: ${secret:NAME}")
		}
	}
	return faults
}

// checkAddress takes https, and http to this machine alone, where an agent may stand.
func checkAddress(address string) error {
	rest, plain := strings.CutPrefix(address, "http://")
	if !plain {
		return provider.CheckEndpoint(address)
	}
	if err := provider.CheckEndpoint("https://" + rest); err != nil {
		return fmt.Errorf("%q is not in canonical form: a host in lower case, and no slash at the end", address)
	}
	if u, err := parseAddress(address); err != nil || !exchange.LoopbackHost(u.Hostname()) {
		return fmt.Errorf("%q is http to another machine: use https", address)
	}
	return nil
}
