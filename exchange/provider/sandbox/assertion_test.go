package sandbox_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// TestAssertionFaults: whatever a cloud refuses is refused, for that reason.
func TestAssertionFaults(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(with *ecdsa.PrivateKey, kid string, change map[string]any) string {
		t.Helper()
		claims := map[string]any{
			"iss": "https://cambio.example/federation", "sub": "default:bedrock", "aud": "sts", "jti": rand.Text(),
			"iat": noon.Unix(), "exp": noon.Add(5 * time.Minute).Unix(),
		}
		maps.Copy(claims, change)
		for name, value := range claims {
			if value == nil {
				delete(claims, name)
			}
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: with, KeyID: kid}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	a := sandbox.NewAssertions(sandbox.World{
		Issuer: "https://cambio.example/federation", Keys: func() []byte { return set },
		Now: func() time.Time { return noon }, Random: rand.Reader,
	})
	expect := sandbox.Expect{
		Audiences: []string{"sts"}, Algorithms: []jose.SignatureAlgorithm{jose.ES256}, MaxSubject: 127,
		MaxAge: time.Hour, MaxLife: 10 * time.Minute, SingleUse: true,
	}
	good := sign(key, "k1", nil)
	if c, err := a.Verify(good, expect); err != nil || c.Subject != "default:bedrock" || c.All["aud"] != "sts" {
		t.Fatalf("%+v: %v", c, err)
	}
	lists := expect
	lists.List = true
	if c, err := a.Verify(sign(key, "k1", map[string]any{"aud": []string{"sts"}}), lists); err != nil || c.Audience != "sts" {
		t.Fatalf("a list of one: %+v: %v", c, err)
	}
	rsaOnly := expect
	rsaOnly.Algorithms = nil
	for name, c := range map[string]struct {
		token  string
		expect sandbox.Expect
		want   sandbox.Reason
	}{
		"no token":        {"x.y", expect, sandbox.ReasonMalformed},
		"algorithm":       {sign(key, "k1", nil), rsaOnly, sandbox.ReasonAlgorithm},
		"unknown kid":     {sign(key, "k2", nil), expect, sandbox.ReasonKey},
		"no kid":          {sign(key, "", nil), expect, sandbox.ReasonKey},
		"other key":       {sign(other, "k1", nil), expect, sandbox.ReasonSignature},
		"issuer":          {sign(key, "k1", map[string]any{"iss": "https://cambio.example"}), expect, sandbox.ReasonIssuer},
		"audience":        {sign(key, "k1", map[string]any{"aud": "sts.example"}), expect, sandbox.ReasonAudience},
		"many audiences":  {sign(key, "k1", map[string]any{"aud": []string{"sts"}}), expect, sandbox.ReasonMalformed},
		"two audiences":   {sign(key, "k1", map[string]any{"aud": []string{"sts", "other"}}), lists, sandbox.ReasonMalformed},
		"no audience":     {sign(key, "k1", map[string]any{"aud": []string{}}), lists, sandbox.ReasonMalformed},
		"expired":         {sign(key, "k1", map[string]any{"exp": noon.Unix()}), expect, sandbox.ReasonExpired},
		"from the future": {sign(key, "k1", map[string]any{"iat": noon.Add(2 * time.Minute).Unix()}), expect, sandbox.ReasonNotYet},
		"too long":        {sign(key, "k1", map[string]any{"exp": noon.Add(time.Hour).Unix()}), expect, sandbox.ReasonTooLong},
		"long subject":    {sign(key, "k1", map[string]any{"sub": strings.Repeat("x", 128)}), expect, sandbox.ReasonSubject},
		"no jti":          {sign(key, "k1", map[string]any{"jti": nil}), expect, sandbox.ReasonNoID},
		"again":           {good, expect, sandbox.ReasonReplayed},
		"no exp":          {sign(key, "k1", map[string]any{"exp": nil}), expect, sandbox.ReasonMalformed},
	} {
		_, err := a.Verify(c.token, c.expect)
		var fault *sandbox.Fault
		if !errors.As(err, &fault) || fault.Reason != c.want {
			t.Errorf("%s: %v, want reason %d", name, err, c.want)
		}
	}
}
