package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// Read reads what a target of provider vault hands out as Vault's own client has it:
// fields are in Data, as numbers of json.Number; one field alone is Data["value"].
// LeaseDuration is what is left of it at the time now. Renewable is false, whatever
// Vault said: the lease hangs on a login that the server keeps, and a new exchange brings
// the next one. Errors hold nothing of a value.
func Read(c *cambio.Credential, now time.Time) (*api.Secret, error) {
	left := max(0, int(c.Expires.Sub(now)/time.Second))
	switch c.IssuedTokenType {
	case cambio.TokenTypeSecret:
		return &api.Secret{LeaseDuration: left, Data: map[string]any{"value": c.Value.Reveal()}}, nil
	case cambio.TokenTypeVaultLease:
	case cambio.TokenTypeVaultWrapping:
		return nil, errors.New("vault: the target gives a wrapping token: read it with a Reader that has a client of that Vault")
	default:
		return nil, fmt.Errorf("vault: the target gives %q and nothing of Vault's: name a target of provider vault", c.IssuedTokenType)
	}
	var lease struct {
		ID   string         `json:"lease_id"`
		Data map[string]any `json:"data"`
	}
	decoder := json.NewDecoder(strings.NewReader(c.Value.Reveal()))
	decoder.UseNumber() // as the SDK does
	if decoder.Decode(&lease) != nil || lease.Data == nil {
		return nil, errors.New("vault: the credential is no JSON object with data: is the server older than this package?")
	}
	return &api.Secret{LeaseID: lease.ID, LeaseDuration: left, Data: lease.Data}, nil
}
