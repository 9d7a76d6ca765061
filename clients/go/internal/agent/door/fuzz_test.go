package door

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"testing"
)

func FuzzParsePodKey(f *testing.F) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		f.Fatal(err)
	}
	block := &pem.Block{Type: "PUBLIC KEY", Bytes: der}
	for _, podKey := range []string{
		string(pem.EncodeToMemory(block)), base64.StdEncoding.EncodeToString(der), "",
		string(pem.EncodeToMemory(block)) + string(pem.EncodeToMemory(block)),
		string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)})),
	} {
		body, _ := json.Marshal(map[string]string{"podKey": podKey})
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		der, err := parsePodKey(body)
		if err != nil {
			return
		}
		public, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			t.Fatal(err)
		}
		if key, ok := public.(*rsa.PublicKey); !ok || key.N.BitLen() < minKeyBits || key.N.BitLen() > maxBits {
			t.Error("a key is taken that is none")
		}
	})
}

func FuzzParseForm(f *testing.F) {
	f.Add("grant_type=a&cr_token=b&profile_id=c")
	f.Add("a=1&a=2")
	f.Add("a=%zz;b")
	f.Fuzz(func(t *testing.T, text string) {
		form, err := parseForm(text)
		if err != nil {
			return
		}
		for name, values := range form {
			if len(values) != 1 {
				t.Errorf("%q stands there %d times", name, len(values))
			}
		}
		again, err := parseForm(form.Encode())
		if err != nil || again.Encode() != form.Encode() {
			t.Errorf("it reads another way the second time: %v", err)
		}
	})
}
