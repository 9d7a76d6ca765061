package oci

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

func FuzzCredential(f *testing.F) {
	f.Add(cambio.TokenTypeOCIRPST, `{"token":"a","key_id":"ST$a","region":"us-ashburn-1","tenancy":"t"}`)
	f.Add(cambio.TokenTypeOCIUPST, `{"token":"a\",b=\"","key_id":"ST$a\",b=\"","region":"r"}`)
	f.Fuzz(func(t *testing.T, kind, text string) {
		got, err := Read(&cambio.Credential{Value: cambio.NewSecret(text), IssuedTokenType: kind})
		if err != nil {
			return
		}
		if got.KeyID.Reveal() != "ST$"+got.Token.Reveal() || got.Token.IsZero() || strings.ContainsAny(got.KeyID.Reveal()+got.Region+got.Tenancy, "\r\n\"\\ ") {
			t.Errorf("a header cannot hold %q", text)
		}
	})
}

func FuzzSession(f *testing.F) {
	f.Add(`{"session":"0199a000-0000-7000-8000-000000000002","token":"a","region":"us-ashburn-1"}`)
	f.Add(`{"session":"../../v1/denies","token":"a"}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readSession(&cambio.Credential{Value: cambio.NewSecret(text), IssuedTokenType: cambio.TokenTypeOCISigningSession})
		if err == nil && (len(got.id) != 36 || strings.ContainsAny(got.id, "/.%?#:") || got.token.IsZero()) {
			t.Errorf("a path cannot hold %q", text)
		}
	})
}

func FuzzSignature(f *testing.F) {
	f.Add(`{"headers":{"authorization":"Signature version=\"1\"","date":"Sat, 21 Nov 2026 17:00:00 GMT"},"expire_time":"2026-11-21T18:00:00Z","renew_time":"2026-11-21T17:48:00Z"}`)
	f.Add(`{"headers":{"cookie":"a","authorization":"Signature x","date":"x"}}`)
	now := time.Unix(1<<30, 0)
	f.Fuzz(func(t *testing.T, text string) {
		var answer signature
		if json.Unmarshal([]byte(text), &answer) != nil || answer.check() != nil {
			return
		}
		for name := range answer.Headers {
			if !signed[name] {
				t.Errorf("%q sets %q", text, name)
			}
		}
		held := &session{expires: now.Add(time.Minute)}
		if held.learn(&answer, now) {
			t.Error("one answer is no reason to replace a session")
		}
	})
}
