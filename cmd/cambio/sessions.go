package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/signing"
)

// openSessions makes what holds signing sessions. sign is the vendor's, which is made
// later: it lends its drivers this desk.
func (h *house) openSessions(sealer *exchange.Sealer, sign func(context.Context, string, string, exchange.Secret, exchange.SignRequest) (map[string]string, error)) *signing.Desk {
	return signing.New(signing.Options{
		Store: h.store, Standing: h.standing, Sign: sign, Note: h.ledger.Note, Sealer: sealer, Now: h.now, Random: rand.Reader,
		Signed: h.meters.signed, Renew: h.renewSession, Renewed: h.meters.renewed, Report: h.meters.fault("sessions"),
	})
}

// renewSession renews a session's lease, and with it the session, as its caller could
// by itself: for the reason that the session was asked for with.
func (h *house) renewSession(ctx context.Context, r signing.Renewal) error {
	caller := r.Ask.Caller
	l, err := h.desk.Lease(ctx, caller.Tenant, r.Session)
	if err != nil {
		return err
	}
	_, err = h.desk.Renew(ctx, lease.Extension{
		Tenant: caller.Tenant, Lease: r.Session, Subject: caller, Lifetime: r.Lifetime,
		Reason: l.Record.Reason, ClientIP: r.Ask.ClientIP, By: r.Ask.By,
	})
	return err
}

// runSessions renews what is about to end and writes what was signed, until ctx ends
// and once more then.
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

// renewed counts a renewal ahead of time. That one failed is no fault of ours alone:
// policy may have changed, and the session goes on until it ends.
func (m *meters) renewed(target string, session exchange.ID, err error) {
	status := "ok"
	if err != nil {
		status = exchange.KindOf(err).String()
		m.log.Warn("a signing session could not be renewed and goes on until it ends", "session", session.String(), "target", target, "err", err)
	}
	m.sessionRenewals.WithLabelValues(target, status).Inc()
}

// targetSecret is what a driver asks for a secret by.
func (h *house) targetSecret(ref provider.SecretRef, host string) (exchange.Secret, error) {
	name, ok := ref.Name()
	if !ok {
		return exchange.Secret{}, fmt.Errorf("a secret is named as ${secret:NAME}")
	}
	return h.config.TargetSecret(name, host)
}
