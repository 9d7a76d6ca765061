package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// maxValueBytes is the longest credential that the house hands out.
const maxValueBytes = 64 << 10

// lease is the form in which several fields are handed out.
type lease struct {
	LeaseID   string                     `json:"lease_id,omitempty"`
	Renewable bool                       `json:"renewable"`
	Data      map[string]json.RawMessage `json:"data"`
}

// value is what the target hands out of an answer's fields.
func (c *core) value(a *provider.Answer, l lease) (exchange.Secret, exchange.TokenType, error) {
	text, kind := "", TokenTypeSecret
	if name := c.settings.Field; name != "" {
		raw, ok := l.Data[name]
		if !ok || bytes.Equal(raw, []byte("null")) {
			return exchange.Secret{}, "", misconfigured(nil, fmt.Sprintf("the secret at the target's path has no field %q: the operator must check field and path", name))
		}
		if json.Unmarshal(raw, &text) != nil { // a number, a list: its JSON
			text = string(raw)
		}
		if text == "" {
			return exchange.Secret{}, "", misconfigured(nil, fmt.Sprintf("the field %q of the secret at the target's path is empty: the operator must check field and path", name))
		}
	} else {
		whole, err := json.Marshal(l)
		if err != nil {
			return exchange.Secret{}, "", a.Unusable(errors.New("its fields cannot be written as JSON"))
		}
		text, kind = string(whole), TokenTypeLease
	}
	if len(text) > maxValueBytes {
		return exchange.Secret{}, "", misconfigured(nil, fmt.Sprintf("the secret at the target's path has over %d bytes: the operator must name a field that has fewer", maxValueBytes))
	}
	return exchange.NewSecret(text), kind, nil
}

// wrapping takes the wrapping token out of an answer.
func wrapping(a *provider.Answer, said *answer) (exchange.Secret, string, error) {
	if said.WrapInfo == nil || said.WrapInfo.Token == "" || said.WrapInfo.TTL <= 0 {
		return exchange.Secret{}, "", a.Unusable(errors.New("it is not wrapped, as was asked"))
	}
	return exchange.NewSecret(said.WrapInfo.Token), said.WrapInfo.Accessor, nil
}
