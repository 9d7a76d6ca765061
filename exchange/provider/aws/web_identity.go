package aws

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// assertionLife is ample for one call and its repetitions.
const assertionLife = 5 * time.Minute

// webIdentity shows STS an assertion of ours.
func (d *driver) webIdentity(ctx context.Context, g *exchange.Grant, a ask) (*types.Credentials, error) {
	values, err := provider.SubjectValues(d.settings.Subject, &g.Subject)
	if err != nil {
		return nil, err
	}
	assertion, err := d.assert(ctx, g.Tenant, g.Target.Name, values, d.settings.claims(a))
	if err != nil {
		return nil, err
	}
	return d.present(ctx, assertion, a, false)
}

// assert mints an assertion for this target's STS and nobody else.
func (d *driver) assert(ctx context.Context, tenant, target string, values []string, claims map[string]any) (exchange.Secret, error) {
	now := d.now()
	return d.asserter.Assert(ctx, exchange.Assertion{
		Tenant: tenant, Target: target, Values: values, Audience: d.settings.Audience, Endpoint: d.host,
		Issued: now, Expires: now.Add(assertionLife), Claims: claims,
	})
}

// present shows a token to STS. The call is not signed: the token is the proof.
func (d *driver) present(ctx context.Context, token exchange.Secret, a ask, theirs bool) (*types.Credentials, error) {
	out, err := d.anyone.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: &d.settings.RoleARN, RoleSessionName: &a.name, DurationSeconds: &a.seconds,
		WebIdentityToken: aws.String(token.Reveal()), Policy: textOrNil(a.policy.inline), PolicyArns: descriptors(a.policy.arns),
	})
	if err != nil {
		return nil, d.fault(ctx, err, token, theirs)
	}
	return out.Credentials, nil
}

func textOrNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func descriptors(arns []string) []types.PolicyDescriptorType {
	var out []types.PolicyDescriptorType
	for _, arn := range arns {
		out = append(out, types.PolicyDescriptorType{Arn: aws.String(arn)})
	}
	return out
}
