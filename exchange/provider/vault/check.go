package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/cambio-sts/cambio/exchange"
)

// checkName is the target's name, and the subject's, of a check.
const checkName = "cambio-check"

// Check proves what can be proven without a subject, and keeps nothing.
//
//   - jwt: an assertion for a target that no role should know is shown. Vault looks at
//     issuer, keys and audience before it looks at the claims that the role is bound
//     to, so that being refused by those proves the mount, its configuration, the role
//     and its audience. Which `sub` the role admits is not proven.
//   - approle: this house logs in, and out again.
//   - kubernetes: that the method is there. The rest is in the caller's token.
//
// The path is not asked: it would hand something out.
func (c *core) Check(ctx context.Context) error {
	auth := &c.settings.Auth
	proof := exchange.Grant{Passthrough: exchange.Token{Value: exchange.NewSecret("e30.e30.check")}}
	var err error
	var body map[string]any
	var sent []exchange.Secret
	if auth.method() == MethodJWT {
		body, sent, err = c.assert(ctx, checkName, checkName, []string{checkName})
	} else {
		body, sent, err = c.proof(ctx, &proof)
	}
	if err != nil {
		return err
	}
	begun := c.now()
	a, err := c.wire.ask(ctx, call{method: http.MethodPost, path: "auth/" + auth.mount() + "/login", body: body, sent: sent})
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		err := c.loginRefused(a)
		if auth.method() != MethodAppRole && exchange.KindOf(err) == exchange.KindProviderRefused {
			return nil
		}
		return err
	}
	l, err := read(a, begun)
	if err != nil {
		return err
	}
	if err := c.logout(ctx, l.token); err != nil {
		return err
	}
	switch auth.method() {
	case MethodKubernetes:
		return errors.New("the auth method lets anything in: it is not Kubernetes'")
	case MethodJWT:
		return exchange.Fault(exchange.KindMisconfigured, "the Vault role lets every subject of this house in: its operator must bind it to the target",
			fmt.Errorf("auth.role: let bound_claims of %q name sub as %q", auth.Role, "<tenant>:<target>:*"))
	}
	return nil
}
