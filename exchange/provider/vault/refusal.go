package vault

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// misconfigured says what the operator must change; with the answer, if it says more.
func misconfigured(a *provider.Answer, advice string) error {
	if a == nil {
		return exchange.Fault(exchange.KindMisconfigured, advice, nil)
	}
	return a.Fault(exchange.KindMisconfigured, advice)
}

// said are the errors of an answer in one text; empty: it has none.
func said(a *provider.Answer) string {
	var e api.ErrorResponse
	_ = a.Decode(&e) // what is no JSON says nothing
	return strings.Join(e.Errors, "; ")
}

// unwell reads an answer that says that Vault cannot answer now.
func unwell(a *provider.Answer, err error) error {
	switch text := strings.ToLower(said(a)); {
	case a.Status == http.StatusTooManyRequests:
		return a.Fault(exchange.KindThrottled, "Vault is asked too often; try again later")
	case strings.Contains(text, "sealed"):
		return a.Fault(exchange.KindUnavailable, "Vault is sealed: its operator must unseal it")
	case strings.Contains(text, "not initialized"):
		return a.Fault(exchange.KindUnavailable, "Vault is not initialized: its operator must do so")
	case strings.Contains(text, "not active"), strings.Contains(text, "standby"), strings.Contains(text, "active cluster node"):
		return a.Fault(exchange.KindUnavailable, "Vault has no active node, or the target's address is that of a standby; try again")
	}
	return err
}

// dead reports whether a 403 is about the token itself and not about a policy: Vault
// says so, and OpenBao does not count errors there.
func dead(a *provider.Answer) bool {
	text := said(a)
	return a.Status == http.StatusForbidden &&
		(text == "permission denied" || strings.Contains(text, "invalid token") || strings.Contains(text, "bad token"))
}

// elsewhere reads what is wrong before a login or a path is looked at; nil: nothing.
func (c *core) elsewhere(a *provider.Answer, text string) error {
	switch {
	case strings.Contains(text, "namespace not found"), a.Status == http.StatusForbidden && strings.Contains(text, "namespace not"):
		return misconfigured(a, fmt.Sprintf("Vault has no namespace %q: the operator must check namespace", c.settings.Namespace))
	case a.Status == http.StatusPreconditionFailed:
		return a.Fault(exchange.KindUnavailable, "this node of Vault is behind; try again")
	}
	return nil
}

// loginRefused reads a refusal of a login.
func (c *core) loginRefused(a *provider.Answer) error {
	auth, text := &c.settings.Auth, said(a)
	if err := c.elsewhere(a, text); err != nil {
		return err
	}
	has := func(words string) bool { return strings.Contains(text, words) }
	switch {
	case a.Status == http.StatusNotFound, a.Status == http.StatusMethodNotAllowed:
		return misconfigured(a, fmt.Sprintf("Vault has no auth method at %q: the operator must check auth.mount and namespace", auth.mount()))
	case has("could not load configuration"), has("could not load backend configuration"), has("no configuration"):
		return misconfigured(a, fmt.Sprintf("Vault's auth method at %q is not configured: its operator must write %s/config", auth.mount(), "auth/"+auth.mount()))
	case auth.method() == MethodAppRole:
		return misconfigured(a, "Vault does not let this house's AppRole in: the operator must check auth.role_id, auth.secret_id and auth.mount")
	case has("could not be found"), has("invalid role name"), has("role not found"):
		return misconfigured(a, fmt.Sprintf("Vault knows no role %q at auth/%s: the operator must check auth.role", auth.Role, auth.mount()))
	case auth.method() == MethodKubernetes:
		return a.Fault(exchange.KindProviderRefused, fmt.Sprintf(
			"Vault does not let this service account in: bring a fresh passthrough_token with the audience of its role %q, or have the operator check auth.role, auth.mount and whom the role is bound to", auth.Role))
	case has("audience"):
		return misconfigured(a, fmt.Sprintf("the Vault role %q is not bound to the audience %q: the operator must check auth.audience and the role's bound_audiences", auth.Role, auth.Audience))
	case bound(text):
		return a.Fault(exchange.KindProviderRefused, fmt.Sprintf(
			"the Vault role %q does not let this subject in: have the operator check auth.role, auth.subject and the role's bound_subject and bound_claims", auth.Role))
	}
	return misconfigured(a, fmt.Sprintf(
		"Vault does not let this house's assertion in: the operator must check auth.mount and auth.role, and the issuer and keys in auth/%s/config", auth.mount()))
}

// bound reports whether a JWT role knows the issuer and the audience, and not the
// subject.
func bound(text string) bool {
	return strings.Contains(text, "bound claim") || strings.Contains(text, "bound subject") || strings.Contains(text, "sub claim")
}

// pathRefused reads a refusal of the target's path.
func (c *core) pathRefused(a *provider.Answer) error {
	s, text := &c.settings, said(a)
	if err := c.elsewhere(a, text); err != nil {
		return err
	}
	switch {
	case dead(a), strings.Contains(text, "one use left"):
		return misconfigured(a, "Vault ended the login before the path was asked: the operator must give the role of auth a longer token_ttl, and no token_num_uses")
	case a.Status == http.StatusForbidden:
		return misconfigured(a, fmt.Sprintf("the policies of the Vault role do not allow %s: its operator must let it %s there, or check path", s.Path, c.capability()))
	case a.Status == http.StatusNotFound && strings.Contains(text, "no handler"):
		return misconfigured(a, "Vault has no secrets engine at the target's path: the operator must check path and namespace")
	case a.Status == http.StatusNotFound && strings.Contains(text, "unsupported path"), a.Status == http.StatusMethodNotAllowed:
		return misconfigured(a, "the secrets engine does not take this at the target's path: the operator must check path and method")
	case a.Status == http.StatusNotFound && deleted(a):
		return misconfigured(nil, "the newest version of the secret at the target's path is deleted: its operator must write or undelete it, or check path")
	case a.Status == http.StatusNotFound:
		return misconfigured(a, "there is no secret at the target's path: the operator must write it, or check path and version")
	}
	return misconfigured(a, "the secrets engine refused: the operator must check path, method and parameters")
}

func (c *core) capability() string {
	if c.settings.Method == WritePath {
		return "create and update"
	}
	return "read"
}

// deleted reports whether an answer is the metadata of a version that is gone.
func deleted(a *provider.Answer) bool {
	var found answer
	return a.Decode(&found) == nil && found.Data["metadata"] != nil
}

// leaseRefused reads a refusal to renew a lease.
func (c *core) leaseRefused(a *provider.Answer) error {
	switch text := said(a); {
	case dead(a):
		return a.Fault(exchange.KindProviderRefused, "the login that the lease hangs on has ended, and the lease with it")
	case a.Status == http.StatusForbidden:
		return misconfigured(a, "the policies of the Vault role do not allow sys/leases/renew: its operator must let it update there")
	case strings.Contains(text, "not found"):
		return a.Fault(exchange.KindProviderRefused, "Vault has no such lease any more")
	case strings.Contains(text, "not renewable"):
		return a.Fault(exchange.KindProviderRefused, "the engine's leases cannot be renewed")
	}
	return a.Fault(exchange.KindProviderRefused, "Vault did not renew the lease")
}

// selfRefused reads a refusal of what every login may do by Vault's default policy.
func (c *core) selfRefused(a *provider.Answer, what string) error {
	if dead(a) {
		return a.Fault(exchange.KindProviderRefused, "the login that the lease hangs on has ended, and the lease with it")
	}
	if a.Status == http.StatusForbidden {
		return misconfigured(a, fmt.Sprintf("the policies of the Vault role do not allow auth/token/%s-self: its operator must let it update there, as Vault's default policy does", what))
	}
	return a.Fault(exchange.KindProviderRefused, fmt.Sprintf("Vault did not %s the login", what))
}
