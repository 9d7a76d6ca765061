package exchange_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

// nested holds a secret in every way that formatters have been seen to reach.
type nested struct {
	Exported exchange.Secret
	hidden   exchange.Secret
	Pointer  *exchange.Secret
	Any      any
	List     []exchange.Secret
	Map      map[string]exchange.Secret
	Inner    struct{ deep exchange.Secret }
}

// TestS39SecretsNeverPrint prints a secret alone and nested, under every verb and
// flag, and through both slog handlers and the encoders.
func TestS39SecretsNeverPrint(t *testing.T) {
	const value = "hunter2-hunter2"
	s := exchange.NewSecret(value)
	n := nested{Exported: s, hidden: s, Pointer: &s, Any: s, List: []exchange.Secret{s}, Map: map[string]exchange.Secret{"k": s}}
	n.Inner.deep = s
	token := exchange.Token{Value: s}
	credential := exchange.Credential{Value: s, RevokeWith: s}
	request := exchange.Request{SubjectToken: token, ActorToken: token, PassthroughToken: token}
	grant := exchange.Grant{Passthrough: token}

	for _, held := range []any{s, &s, n, &n, token, credential, request, grant, []any{s}, fmt.Errorf("failed: %v", s), errors.Join(fmt.Errorf("%+v", n))} {
		var out bytes.Buffer
		for _, verb := range "vsdqxXTpbcoOUeEfFgGtw" {
			for _, flag := range []string{"", "+", "#", "-", " ", "0", "+#", "30"} {
				fmt.Fprintf(&out, "%"+flag+string(verb)+"\n", held)
			}
		}
		for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
			slog.New(h).Info("event", "held", held, slog.Group("g", "held", held))
		}
		if b, err := json.Marshal(held); err == nil {
			out.Write(b)
		}
		if b, err := xml.Marshal(held); err == nil {
			out.Write(b)
		}
		for _, form := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), fmt.Sprintf("%v", []byte(value))} {
			if strings.Contains(out.String(), form) {
				t.Errorf("%T prints its secret as %q", held, form)
			}
		}
	}
	if got := fmt.Sprintf("%s %v %#v", s, s, s); got != "REDACTED REDACTED REDACTED" {
		t.Errorf("a secret prints as %q", got)
	}
	if s.Reveal() != value {
		t.Error("Reveal does not")
	}
}

func TestSecretEqual(t *testing.T) {
	a, b, zero := exchange.NewSecret("a"), exchange.NewSecret("b"), exchange.Secret{}
	if !a.Equal(exchange.NewSecret("a")) || a.Equal(b) || a.Equal(zero) || !zero.Equal(exchange.NewSecret("")) {
		t.Error("Equal does not compare values")
	}
	if !exchange.NewSecret("").IsZero() || a.IsZero() {
		t.Error("IsZero is not about the value")
	}
}
