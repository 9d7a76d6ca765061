package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/common/auth"

	"github.com/cambio-sts/cambio/exchange"
)

// clientSecret proves the domain's confidential application (RFC 6749 §2.3.1).
type clientSecret struct {
	id     string
	secret func() (exchange.Secret, error)
}

func (c *clientSecret) signer(context.Context) (common.HTTPRequestSigner, error) {
	secret, err := c.secret()
	if err != nil {
		return nil, exchange.Fault(exchange.KindMisconfigured, "the target's client_secret cannot be had: ask its operator",
			fmt.Errorf("client_secret: %w", err))
	}
	return basic{id: c.id, secret: secret}, nil
}

// basic writes the client's credentials, each form-encoded first.
type basic struct {
	id     string
	secret exchange.Secret
}

// Sign sets the header.
func (b basic) Sign(r *http.Request) error {
	r.SetBasicAuth(url.QueryEscape(b.id), url.QueryEscape(b.secret.Reveal()))
	return nil
}

// principal signs the exchange as what this process runs on. The SDK's providers ask
// the machine when they are made, so they are made by the first exchange, and again
// by the next one where that failed.
type principal struct {
	kind Principal

	mu      sync.Mutex
	made    common.HTTPRequestSigner
	pending *attempt
}

type attempt struct {
	done   chan struct{}
	signer common.HTTPRequestSigner
	err    error
}

func (p *principal) signer(ctx context.Context) (common.HTTPRequestSigner, error) {
	p.mu.Lock()
	if p.made != nil {
		defer p.mu.Unlock()
		return p.made, nil
	}
	try := p.pending
	if try == nil { // the SDK knows no deadline here, so nobody waits for it longer than its own
		try = &attempt{done: make(chan struct{})}
		p.pending = try
		go p.make(try)
	}
	p.mu.Unlock()
	select {
	case <-try.done:
	case <-ctx.Done():
		return nil, exchange.Fault(exchange.KindUnavailable, "this replica's own principal at OCI could not be had in time; try again",
			fmt.Errorf("waiting for the %s principal: %w", p.kind, ctx.Err()))
	}
	if try.err != nil {
		return nil, exchange.Fault(exchange.KindMisconfigured,
			"the target's setting signed does not fit where Cambio runs: ask its operator", try.err)
	}
	return try.signer, nil
}

func (p *principal) make(try *attempt) {
	provider, err := principalOf(p.kind)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		try.err = fmt.Errorf("signed: %s: %w", p.kind, err)
	} else {
		try.signer = common.DefaultRequestSigner(provider)
		p.made = try.signer
	}
	p.pending = nil
	close(try.done)
}

func principalOf(kind Principal) (common.ConfigurationProvider, error) {
	switch kind {
	case PrincipalInstance:
		return auth.InstancePrincipalConfigurationProvider()
	case PrincipalWorkload:
		return auth.OkeWorkloadIdentityConfigurationProvider()
	case PrincipalResource:
		return auth.ResourcePrincipalConfigurationProvider()
	}
	return nil, errors.New("there is no such principal")
}
