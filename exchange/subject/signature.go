package subject

import (
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
)

// heading is a token's header as go-jose has read it, with nothing of the token that
// it came with but that. Issuers write the same header into every token that they sign
// with a key, and reading it takes go-jose a tenth of what the signature takes.
type heading struct {
	text string // as it stood in the token
	read jose.JSONWebSignature
}

// verifies reports whether the key signed the token. The error is for what go-jose
// cannot read, though we could.
func (k *key) verifies(p *presented) (bool, error) {
	h := k.heading.Load()
	known := h != nil && h.text == p.header
	if !known {
		read, err := jose.ParseSignedCompact(p.raw, []jose.SignatureAlgorithm{p.algorithm})
		if err != nil {
			return false, exchange.Fault(exchange.KindInvalidSubject, "the token is malformed", err)
		}
		h = &heading{text: p.header, read: *read}
	}
	signed := h.read
	signed.Signatures = slices.Clone(signed.Signatures)
	signed.Signatures[0].Signature = p.signature
	if signed.DetachedVerify(p.payload, k.public) != nil {
		return false, nil
	}
	if !known { // only what the key has signed is kept
		k.heading.Store(h)
	}
	return true, nil
}
