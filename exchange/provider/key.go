package provider

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"maps"
	"slices"

	"github.com/cambio-sts/cambio/exchange"
)

// Key names a resolved grant for the credential cache and the single flight.
type Key [sha256.Size]byte

// KeyOf is the full SHA-256 over everything in the grant that could shape a
// credential (S23). What it leaves out is what must not shape one: the exchange, save
// where a credential serves once; the moment, the lifetime and its caps (a hit is
// checked against those), the facts of the one token that was presented, and, for a
// target that is shared, the subject.
//
// Every part is written with its length before it, so that no two grants write the
// same bytes.
func KeyOf(g *exchange.Grant) Key {
	w := keyWriter{hash: sha256.New()}
	w.text("cambio grant v1")
	w.text(g.Tenant)
	w.text(g.Target.Tenant)
	w.text(g.Target.Name)
	w.text(g.Target.Provider)
	w.bytes(g.Target.Hash[:])
	w.text(g.Rule)
	if g.RuleHash == [32]byte{} {
		w.text(g.Revision.Hash)
	} else {
		w.bytes(g.RuleHash[:])
	}
	w.flag(g.RuleHash == [32]byte{})
	w.flag(g.Target.Once)
	if g.Target.Once { // nobody else's is of use
		w.bytes(g.Exchange[:])
	}
	w.flag(g.Target.Shared)
	if !g.Target.Shared {
		s := &g.Subject
		w.text(s.Tenant)
		w.text(s.Name)
		w.text(s.Trust)
		w.bytes(s.TrustHash[:])
		w.text(string(s.Kind))
		w.text(s.Issuer)
		w.text(s.ID)
		w.attributes(s.Attributes)
	}
	w.number(len(g.Actors))
	for i := range g.Actors {
		a := &g.Actors[i]
		w.text(a.Name)
		w.text(a.Trust)
		w.bytes(a.TrustHash[:])
		w.text(a.Issuer)
		w.text(a.ID)
		w.flag(a.Proven)
		w.text(a.AssertedBy)
		w.attributes(a.Attributes)
	}
	w.lineage(g.Subject.Own) // who revokes a token revokes what came of it, and nothing else
	w.text(g.Client)
	w.flag(g.Scopes == nil)
	w.texts(sorted(g.Scopes))
	w.text(string(g.Type))
	w.bytes(g.PublicKey)
	passthrough := sha256.Sum256([]byte(g.Passthrough.Value.Reveal()))
	w.flag(g.Passthrough.IsZero())
	w.bytes(passthrough[:])
	w.text(string(g.Passthrough.Type))

	var k Key
	w.hash.Sum(k[:0])
	return k
}

// sorted orders the scopes, which are a set.
func sorted(scopes []string) []string {
	if slices.IsSorted(scopes) {
		return scopes
	}
	return slices.Sorted(slices.Values(scopes))
}

// keyWriter writes parts so that they can be told apart.
type keyWriter struct {
	hash   hash.Hash
	buffer []byte
}

func (w *keyWriter) number(n int) {
	w.buffer = binary.BigEndian.AppendUint64(w.buffer[:0], uint64(n))
	w.hash.Write(w.buffer)
}

func (w *keyWriter) flag(set bool) {
	if set {
		w.number(1)
	} else {
		w.number(0)
	}
}

func (w *keyWriter) text(s string) {
	w.number(len(s))
	w.buffer = append(w.buffer[:0], s...)
	w.hash.Write(w.buffer)
}

func (w *keyWriter) bytes(b []byte) {
	w.number(len(b))
	w.hash.Write(b)
}

func (w *keyWriter) texts(list []string) {
	w.number(len(list))
	for _, s := range list {
		w.text(s)
	}
}

func (w *keyWriter) lineage(own *exchange.Own) {
	if own == nil {
		w.number(0)
		return
	}
	w.number(len(own.Lineage))
	for _, lease := range own.Lineage {
		w.bytes(lease[:])
	}
}

func (w *keyWriter) attributes(a exchange.Attributes) {
	w.number(len(a))
	for _, name := range slices.Sorted(maps.Keys(a)) {
		w.text(name)
		w.texts(a[name])
	}
}
