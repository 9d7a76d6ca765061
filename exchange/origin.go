package exchange

import (
	"encoding/json"
	"fmt"
)

// Origin is for whom a token of ours was issued, as it was verified then: what the
// token itself does not say, and must hold again when it comes back (S7). It is
// kept with the token's lease, sealed.
type Origin struct {
	Trust      string     `json:"trust"`
	TrustHash  [32]byte   `json:"trust_hash"`
	Kind       TrustKind  `json:"kind"`
	Issuer     string     `json:"issuer"`
	ID         string     `json:"id"`
	Attributes Attributes `json:"attributes,omitempty"`
	Record     Attributes `json:"record,omitempty"`
	MayAct     *MayAct    `json:"may_act,omitempty"`
	Actors     []Actor    `json:"actors,omitempty"` // the whole chain, outermost first
}

const originPurpose = "origin"

// SealOrigin seals an origin for the lease of that id.
func (s *Sealer) SealOrigin(lease ID, o Origin) ([]byte, error) {
	plain, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encoding a token's origin: %w", err)
	}
	return s.Seal(originPurpose, lease.String(), plain)
}

// OpenOrigin opens what SealOrigin sealed for the lease of that id.
func (s *Sealer) OpenOrigin(lease ID, sealed []byte) (Origin, error) {
	plain, err := s.Open(originPurpose, lease.String(), sealed)
	if err != nil {
		return Origin{}, err
	}
	var o Origin
	if err := json.Unmarshal(plain, &o); err != nil {
		return Origin{}, fmt.Errorf("decoding a token's origin: %w", err)
	}
	return o, nil
}
