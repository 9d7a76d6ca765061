package gcp

import (
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

// FuzzRefusal: whatever Google says, it becomes an error of the house that repeats
// none of it but words.
func FuzzRefusal(f *testing.F) {
	for _, body := range []string{
		`{"error":"invalid_grant","error_description":"The audience in ID Token [x] does not match the expected audience."}`,
		`{"error":{"code":403,"message":"denied","status":"PERMISSION_DENIED","details":[{"reason":"IAM_PERMISSION_DENIED"}]}}`,
		`{"error":{"details":"x"}}`, `{"error":[1]}`, `{"error":null}`, `<html>`, ``, `{"error":"eyJhbGciOiJSUzI1NiJ9.e30.c2ln"}`,
	} {
		f.Add(uint8(0), true, body)
		f.Add(uint8(29), false, body)
	}
	f.Fuzz(func(t *testing.T, above uint8, impersonating bool, body string) {
		path := "/v1/token"
		if impersonating {
			path = "/v1/projects/-/serviceAccounts/x:generateAccessToken"
		}
		err := explain(readRefusal(path, providertest.Refused(t, 400+int(above)%200, body)))
		e, ok := err.(*exchange.Error)
		if !ok || e.Advice == "" {
			t.Fatalf("%v", err)
		}
		switch e.Kind {
		case exchange.KindMisconfigured, exchange.KindProviderRefused, exchange.KindThrottled, exchange.KindUnavailable:
		default:
			t.Errorf("kind %v", e.Kind)
		}
		if strings.Contains(err.Error(), "eyJ") && strings.Contains(err.Error(), ".e30.") {
			t.Errorf("it repeats a token: %v", err)
		}
	})
}

// FuzzExpiry: what is read without verification is a time that fits a token, or an
// error.
func FuzzExpiry(f *testing.F) {
	for _, token := range []string{"", "a.b.c", "e30.eyJleHAiOjE3MDAwMDAwMDB9.c2ln", "e30.eyJleHAiOi0xfQ.c2ln", "e30.eyJleHAiOjFlMzB9.c2ln", "e30.e30"} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		at, err := expiryOf(exchange.NewSecret(token))
		if err == nil && (at.Unix() <= 0 || at.Unix() > 1<<40) {
			t.Errorf("%v", at)
		}
	})
}
