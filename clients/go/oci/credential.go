package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// Read reads the JSON that stands for a token bound to a key, which the reader has
// (exchange/provider/oci/README.md): Key is left out. Errors hold nothing of it.
func Read(c *cambio.Credential) (Credential, error) {
	switch c.IssuedTokenType {
	case cambio.TokenTypeOCIRPST, cambio.TokenTypeOCIUPST:
	case cambio.TokenTypeOCISigningSession:
		return Credential{}, errors.New("oci: the target holds the keys itself: use NewSigningSession")
	default:
		return Credential{}, fmt.Errorf("oci: the target gives %q and no OCI session token: name a target of provider oci", c.IssuedTokenType)
	}
	var value struct {
		Token   string `json:"token"`
		KeyID   string `json:"key_id"`
		Region  string `json:"region"`
		Tenancy string `json:"tenancy"`
	}
	if json.Unmarshal([]byte(c.Value.Reveal()), &value) != nil || value.Token == "" {
		return Credential{}, errors.New("oci: the credential is no JSON object with a token: is the server older than this package?")
	}
	if value.KeyID != "ST$"+value.Token || !plain(value.Token) {
		return Credential{}, errors.New("oci: the credential's key_id is not that of its token: is the server older than this package?")
	}
	if !plain(value.Region) || !plain(value.Tenancy) {
		return Credential{}, errors.New("oci: the credential's region and tenancy are no plain names")
	}
	return Credential{
		Token: cambio.NewSecret(value.Token), KeyID: cambio.NewSecret(value.KeyID),
		Region: value.Region, Tenancy: value.Tenancy, Expires: c.Expires,
	}, nil
}

// plain reports whether a text can stand in a quoted parameter of a header.
func plain(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}
