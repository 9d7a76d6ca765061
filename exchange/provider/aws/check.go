package aws

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithy "github.com/aws/smithy-go"

	"github.com/cambio-sts/cambio/exchange"
)

// checkName is the session name, and the target's name in `sub`, of a check.
const checkName = "cambio-check"

// Check proves what can be proven without a subject, and keeps nothing.
//
//   - web_identity: an assertion for a target that no trust policy should know is
//     shown. STS looks at the assertion before it looks at the trust policy, so that
//     being refused by the policy proves the endpoint, the IAM OIDC provider, its client
//     id and the published keys. Which `sub` the role admits is not proven.
//   - assume_role: a session without tags, as short as can be, is asked for and
//     dropped. That proves this process's credentials and the role's trust in them.
//   - passthrough: that STS answers. The rest is in the caller's token.
func (d *driver) Check(ctx context.Context) error {
	a := ask{name: checkName, seconds: int32(minSession.Seconds()), policy: sessionPolicy{inline: nothing}}
	switch d.settings.Method {
	case MethodAssumeRole:
		_, err := d.assumeRole(ctx, a)
		return err
	case MethodPassthrough:
		_, err := d.anyone.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		var api smithy.APIError
		if err == nil || errors.As(err, &api) && api.ErrorCode() == "MissingAuthenticationToken" {
			return nil
		}
		return d.fault(ctx, err, exchange.Secret{}, false)
	}
	assertion, err := d.assert(ctx, checkName, checkName, nil, nil)
	if err != nil {
		return err
	}
	_, err = d.present(ctx, assertion, a, false)
	switch {
	case err == nil:
		return misconfigured(fmt.Errorf("role_arn: the trust policy of %s admits any sub: let it name %q", d.settings.RoleARN, "<tenant>:<target>"))
	case exchange.KindOf(err) == exchange.KindProviderRefused:
		return nil
	}
	return err
}
