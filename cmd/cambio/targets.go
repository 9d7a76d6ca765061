package main

import (
	"context"
	"crypto/tls"
	"net/http"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/outbound"
)

// loadEvery is how often the targets in force are looked at for drivers that have
// something to find out.
const loadEvery = time.Second

// runTargets lets them find it out, so that no exchange has to wait for it.
func (h *house) runTargets(ctx context.Context) {
	tick := time.NewTicker(loadEvery)
	defer tick.Stop()
	failed := h.meters.fault("target metadata")
	for {
		if r := h.policies.Revision(); r != nil {
			var targets []*exchange.Target
			for _, name := range r.Targets() {
				targets = append(targets, r.Target(name))
			}
			if err := h.vendor.Load(ctx, targets); err != nil && ctx.Err() == nil {
				failed(err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// certified is a client like that of the other drivers, which shows a certificate.
func (h *house) certified(certificate func() (*tls.Certificate, error)) (*http.Client, error) {
	o := h.outbound("")
	o.Certificate = certificate
	return outbound.Client(o)
}
