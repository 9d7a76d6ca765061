package door

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/netip"
	"strings"
	"testing"
)

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:26AD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   1: 0100007F:8235 0100007F:26AD 06 00000000:00000000 03:00001766 00000000     0        0 0 3 0
   2: 0100007F:8235 0100007F:26AD 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0
   3: 0000000000000000FFFF00000100007F:8236 0000000000000000FFFF00000100007F:26AD 01 00000000:00000000 00:00000000 00000000  1001        0 3 1 0
   4: 00000000000000000000000001000000:8235 00000000000000000000000001000000:26AD 01 00000000:00000000 00:00000000 00000000  1002        0 4 1 0
   5: 0100007F:8237 0100007F:26AD 01 00000000:00000000 00:00000000 00000000  x        0 4 1 0
`

// The table is that of a little-endian machine, which amd64 and arm64 are.
func TestS36FindUID(t *testing.T) {
	for local, want := range map[string]uint32{"127.0.0.1:33333": 1000, "127.0.0.1:33334": 1001, "[::1]:33333": 1002} {
		remote := "127.0.0.1:9901"
		if strings.HasPrefix(local, "[") {
			remote = "[::1]:9901"
		}
		uid, err := findUID(strings.NewReader(table), netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote))
		if err != nil || uid != want {
			t.Errorf("%s: %d, %v; want %d", local, uid, err, want)
		}
	}
	for local, remote := range map[string]string{
		"127.0.0.1:33332": "127.0.0.1:9901", "127.0.0.1:33333": "127.0.0.1:9902", "127.0.0.2:33333": "127.0.0.1:9901",
		"127.0.0.1:33335": "127.0.0.1:9901", "0.0.0.0:0": "0.0.0.0:0",
	} {
		if uid, err := findUID(strings.NewReader(table), netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote)); err == nil {
			t.Errorf("%s to %s is found, of %d", local, remote, uid)
		}
	}
}

func FuzzFindUID(f *testing.F) {
	f.Add(table)
	local, remote := netip.MustParseAddrPort("127.0.0.1:33333"), netip.MustParseAddrPort("127.0.0.1:9901")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := findUID(strings.NewReader(text), local, remote); err == nil && !strings.Contains(text, ":8235") {
			t.Error("a socket is found that is not there")
		}
	})
}

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

func FuzzParseKey(f *testing.F) {
	f.Add("mine")
	f.Add(string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte{0x30, 0}})))
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := parseKey("key.pem", text); err == nil && key.Validate() != nil {
			t.Error("a key is taken that is none")
		} else if err != nil && len(text) > 8 && strings.Contains(err.Error(), text) {
			t.Error("the error holds what was in the file")
		}
	})
}
