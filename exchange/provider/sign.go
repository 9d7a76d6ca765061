package provider

import (
	"context"
	"errors"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
)

// Sign signs a request under a session's snapshot, by the settings that its target
// has in the policy of this moment.
func (v *Vendor) Sign(ctx context.Context, tenant, target string, snapshot exchange.Secret, r exchange.SignRequest) (map[string]string, error) {
	t, driver, err := v.find(tenant, target)
	if errors.Is(err, ErrNotRevocable) { // it is not configured
		return nil, exchange.Fault(exchange.KindPermissionDenied, "this session signs nothing any more: its target has changed", err)
	}
	if err != nil {
		return nil, err
	}
	signer, ok := driver.(Signer)
	if !ok {
		return nil, exchange.Fault(exchange.KindPermissionDenied, "this session signs nothing any more: its target has changed", fmt.Errorf("target %q signs nothing", target))
	}
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	headers, err := signer.Sign(ctx, t, snapshot, r)
	if err != nil {
		return nil, fmt.Errorf("signing for target %q: %w", target, err)
	}
	return headers, nil
}
