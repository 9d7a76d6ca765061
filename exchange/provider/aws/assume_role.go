package aws

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go/logging"

	"github.com/cambio-sts/cambio/exchange"
)

// ambient is this process's own identity in AWS, from the environment, the shared
// files, the container's or the machine's role, in the SDK's order. Nothing of a
// request reaches that search, which is why it has the SDK's own HTTP client: the
// metadata services are where it looks.
type ambient struct {
	options sts.Options

	mu          sync.Mutex
	client      *sts.Client
	credentials aws.CredentialsProvider // caches, and renews ahead of time
}

// get finds the credentials when they are first needed, and again after a failure.
func (m *ambient) get(ctx context.Context) (*sts.Client, error) {
	m.mu.Lock()
	if m.client == nil {
		found, err := config.LoadDefaultConfig(ctx, config.WithRegion(m.options.Region), config.WithLogger(logging.Nop{}))
		if err != nil {
			m.mu.Unlock()
			return nil, fmt.Errorf("reading the process's AWS configuration: %w", err)
		}
		options := m.options
		options.Credentials = found.Credentials
		m.client, m.credentials = sts.New(options), found.Credentials
	}
	client, credentials := m.client, m.credentials
	m.mu.Unlock()
	if _, err := credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("finding the process's AWS credentials: %w", err)
	}
	return client, nil
}

// assumeRole asks with credentials of this process.
func (d *driver) assumeRole(ctx context.Context, a ask) (*types.Credentials, error) {
	client, err := d.ambient.get(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, late(err)
		}
		return nil, exchange.Fault(exchange.KindMisconfigured, adviceOperator,
			fmt.Errorf("method: assume_role needs AWS credentials of this process (environment, shared files, or the pod's or machine's role): %w", err))
	}
	out, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: &d.settings.RoleARN, RoleSessionName: &a.name, DurationSeconds: &a.seconds,
		Policy: textOrNil(a.policy.inline), PolicyArns: descriptors(a.policy.arns),
		Tags: a.tags, TransitiveTagKeys: d.settings.TransitiveTags,
		SourceIdentity: textOrNil(a.identity), ExternalId: textOrNil(d.settings.ExternalID),
	})
	if err != nil {
		return nil, d.fault(ctx, err, exchange.Secret{}, false)
	}
	return out.Credentials, nil
}
