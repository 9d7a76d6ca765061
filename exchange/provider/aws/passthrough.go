package aws

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/cambio-sts/cambio/exchange"
)

// passthrough shows STS the caller's second token, which is meant for AWS and was
// proven to be the subject's own before it came here (S8). STS verifies it against
// the keys that its issuer publishes.
func (d *driver) passthrough(ctx context.Context, g *exchange.Grant, a ask) (*types.Credentials, error) {
	if g.Passthrough.IsZero() {
		return nil, exchange.Fault(exchange.KindInvalidRequest,
			"passthrough_token: this target needs a second token of yours, one that is meant for AWS (audience sts.amazonaws.com)", nil)
	}
	return d.present(ctx, g.Passthrough.Value, a, true)
}
