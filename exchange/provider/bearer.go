package provider

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// maxID bounds the id of a request in bytes.
const maxID = 128

// Bearer reads a good answer of RFC 6749 §5.1 as an access token that lives from
// issued on, which is a moment before it was asked for. The handle is the driver's to
// choose. types are what the vendor may say as token_type, in small letters.
func (a *Answer) Bearer(issued time.Time, types ...string) (exchange.Credential, error) {
	var t struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := a.Decode(&t); err != nil {
		return exchange.Credential{}, err
	}
	if t.AccessToken == "" || !slices.Contains(types, strings.ToLower(t.TokenType)) {
		return exchange.Credential{}, a.Unusable(errors.New("it has no bearer token"))
	}
	expires, err := a.Expiry(t.ExpiresIn, issued)
	if err != nil {
		return exchange.Credential{}, err
	}
	return exchange.Credential{
		Value: exchange.NewSecret(t.AccessToken), TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken,
		Issued: issued, Expires: expires,
	}, nil
}

// ID is what the provider calls the request, in the header of that name; what is no id
// or none is the exchange's.
func (a *Answer) ID(header string, otherwise exchange.ID) string {
	if id := a.Header.Get(header); id != "" && len(id) <= maxID && exchange.ValidScope(id) {
		return id
	}
	return otherwise.String()
}
