package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/signing"
)

// openSessions makes what holds signing sessions. sign is the vendor's, which is made
// later: it lends its drivers this desk.
func (h *house) openSessions(sealer *exchange.Sealer, sign func(context.Context, string, string, exchange.Secret, exchange.SignRequest) (map[string]string, error)) *signing.Desk {
	return signing.New(signing.Options{
		Store: h.store, Standing: h.standing, Sign: sign, Note: h.ledger.Note, Sealer: sealer, Now: h.now, Random: rand.Reader,
		Signed: h.meters.signed, Report: h.meters.fault("sessions"),
	})
}

// runSessions writes what was signed, until ctx ends and once more then.
func (h *house) runSessions(ctx context.Context) {
	tick := time.NewTicker(signing.FlushEvery)
	defer tick.Stop()
	h.sessions.Run(ctx, tick.C)
}

// signed counts a signature, or its refusal. The target is empty where nobody was
// proven to own the session.
func (m *meters) signed(target string, kind exchange.Kind, ok bool) {
	status := kind.String()
	if ok {
		status = "ok"
	}
	m.signatures.WithLabelValues(target, status).Inc()
}

// targetSecret is what a driver asks for a secret by.
func (h *house) targetSecret(ref provider.SecretRef, host string) (exchange.Secret, error) {
	name, ok := ref.Name()
	if !ok {
		return exchange.Secret{}, fmt.Errorf("a secret is named as ${secret:NAME}")
	}
	return h.config.TargetSecret(name, host)
}
