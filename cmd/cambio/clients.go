package main

import (
	"net/http"

	"github.com/cambio-sts/cambio/exchange/client"
	"github.com/cambio-sts/cambio/exchange/outbound"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/subject"
)

// openClients makes the verifier of registered clients' own assertions. It is not
// the one of subjects: what a client signs is never a subject's token (S12).
func (h *house) openClients() {
	h.clients = subject.New(subject.Options{
		Client: func(caFile string) (*http.Client, error) { return outbound.Client(h.outbound(caFile)) },
		Now:    h.now, OwnIssuers: h.issuer.Names(), ForClients: true,
	})
}

// loadVerifiers hands a revision's trusts and its clients' keys to who verifies by
// them.
func (h *house) loadVerifiers(r *policy.Revision) error {
	if err := h.verifier.Load(r.Trusts()); err != nil {
		return err
	}
	return h.clients.Load(client.Trusts(r.Clients(), h.config.Issuer))
}

// authenticator proves clients by the revision in force.
func (h *house) authenticator() *client.Authenticator {
	return client.New(client.Options{
		Directory: func() client.Directory { return h.policies.Revision() },
		Tokens:    h.verifier, Assertions: h.clients, Issuer: h.config.Issuer,
	})
}
