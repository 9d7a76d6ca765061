package subject

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
)

// standard reads a text with encoding/json, as decodeObject would give it.
func standard(t testing.TB, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("encoding/json refuses what we accept: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatal("something follows")
	}
	return v
}

// same compares our values with those of encoding/json, numbers by value.
func same(ours, theirs any) bool {
	switch o := ours.(type) {
	case map[string]any:
		m, ok := theirs.(map[string]any)
		if !ok || len(m) != len(o) {
			return false
		}
		for name := range o {
			if !same(o[name], m[name]) {
				return false
			}
		}
		return true
	case []any:
		l, ok := theirs.([]any)
		if !ok || len(l) != len(o) {
			return false
		}
		for i := range o {
			if !same(o[i], l[i]) {
				return false
			}
		}
		return true
	case int64:
		n, err := theirs.(json.Number).Int64()
		return err == nil && n == o
	case float64:
		n, err := theirs.(json.Number).Float64()
		return err == nil && n == o
	}
	return reflect.DeepEqual(ours, theirs)
}

// What we accept, everybody else accepts and reads alike: no text means one thing
// to us and another to the issuer.
func FuzzDecodeObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` {"a" : [1, -2.5e3, true, false, null, "x\u00e9\ud83d\ude00\n"]} `, `{"a":{"b":{"c":[[[]]]}}}`,
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":01}`, `{"a":-}`, `{"a":1e}`, `{"a":1e999}`, `{"a":99999999999999999999}`,
		`{"a":"\ud800"}`, "{\"a\":\"\xff\"}", "{\"a\":\"\x01\"}", `{"a":1}x`, `[1]`, `{"a":"\u12"}`, `{"":""}`, `{"a":nul}`, `{"a":-0}`,
		strings.Repeat(`{"a":`, 20), `{"a":"` + strings.Repeat(`\\`, 40) + `"}`, `{"a":0.1e-7,"b":1E+2}`, "{\"\u2028\":\"\u00ff\"}",
	} {
		f.Add(seed)
	}
	files, _ := filepath.Glob("testdata/tokens/*/*.json")
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content))
	}
	f.Fuzz(func(t *testing.T, text string) {
		ours, err := decodeObject(text)
		if err != nil {
			if ours != nil {
				t.Error("a value came with the error")
			}
			return
		}
		if theirs := standard(t, text); !same(ours, theirs) {
			t.Errorf("read as %#v, encoding/json reads %#v", ours, theirs)
		}
	})
}

// And what a plain JSON writer makes, we accept.
func TestDecodeObjectReadsWhatIsWritten(t *testing.T) {
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		leaves := []*rapid.Generator[any]{
			rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Float64Range(-1e200, 1e200).AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil),
		}
		if depth < 4 {
			leaves = append(leaves,
				rapid.Map(rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value(depth + 1) }), 0, 4), func(s []any) any { return s }),
				rapid.Map(rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return value(depth + 1) }), 0, 4), func(m map[string]any) any { return m }))
		}
		return rapid.OneOf(leaves...)
	}
	rapid.Check(t, func(rt *rapid.T) {
		object := rapid.MapOfN(rapid.String(), value(0), 0, 5).Draw(rt, "object")
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(rapid.Bool().Draw(rt, "escape"))
		if err := e.Encode(object); err != nil {
			rt.Fatal(err)
		}
		ours, err := decodeObject(b.String())
		if err != nil {
			rt.Fatalf("%s: %v", b.String(), err)
		}
		if !same(ours, standard(t, b.String())) {
			rt.Fatalf("%s: read as %#v", b.String(), ours)
		}
	})
}

// A JWK Set comes from outside too. Whatever it holds, each key that is taken is
// public, strong, named by its thumbprint, and indexed under its name.
func FuzzKeySet(f *testing.F) {
	files, _ := filepath.Glob("testdata/tokens/*/*.json")
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, true)
		f.Add(content, false)
	}
	for _, seed := range []string{
		`{"keys":[]}`, `{"keys":[{}]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"oct","k":"AA"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`, `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`,
		`{"keys":[{"kty":7}]}`, `{"keys":null}`, `{"keys":[{"kty":"RSA","n":"","e":""}]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQABAQABAQABAQAB"}]}`,
	} {
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, document []byte, spiffe bool) {
		kind := exchange.TrustOIDC
		if spiffe {
			kind = exchange.TrustSPIFFE
		}
		set, err := parseKeySet(document, kind)
		if err != nil {
			return
		}
		if len(set.all) > maxKeys {
			t.Errorf("%d keys", len(set.all))
		}
		for _, k := range set.all {
			if !strong(k.public) || !set.prints[k.print] || !set.holds(k) {
				t.Errorf("key %+v", k)
			}
			fits := 0
			for _, a := range supported {
				if k.fits(a) {
					fits++
				}
			}
			if k.algorithm != "" && fits > 1 {
				t.Errorf("a key with an algorithm of its own fits %d", fits)
			}
		}
	})
}

// Header and claims, decoded and typed: never a panic, and never a token without
// the claims that everything hangs on.
func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("testdata/tokens/*/*.jwt")
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(content))
	}
	f.Add("..")
	f.Add("e30.e30.AA")
	f.Fuzz(func(t *testing.T, raw string) {
		if checkForm(raw) != nil {
			return
		}
		p, err := decode(raw)
		if err != nil {
			return
		}
		if p.algorithm == "" || strings.HasPrefix(string(p.algorithm), "HS") {
			t.Errorf("algorithm %q", p.algorithm)
		}
		c, err := readClaims(p.claims)
		if err != nil {
			return
		}
		if c.subject == "" || c.expires.IsZero() || len(c.audience) == 0 {
			t.Errorf("claims %+v", c)
		}
		_ = c.readActors("t")
		for _, tr := range []trust{
			{Trust: exchange.Trust{Name: "t", Kind: exchange.TrustKubernetes}},
			{Trust: exchange.Trust{Name: "t", Kind: exchange.TrustOIDC}},
			{Trust: exchange.Trust{Name: "t", Kind: exchange.TrustSPIFFE, TrustDomain: "acme.example"}},
		} {
			if s, err := tr.build(c, &key{}, [32]byte{}); err == nil && (s.Name == "" || len(s.Attributes) == 0) {
				t.Errorf("subject %+v", s)
			}
		}
	})
}

func TestMemoryIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	m := newMemory[int](64)
	sum := func(i int) (k [32]byte) {
		k[0], k[1], k[2] = byte(i), byte(i>>8), byte(i>>16)
		return k
	}
	m.put(sum(5), -1)
	for i := 16; i < 20000; i++ {
		m.put(sum(i), i)
		if v, ok := m.get(sum(5)); !ok || v != -1 {
			t.Fatalf("what is used all the time was forgotten after %d", i)
		}
	}
	kept := 0
	for i := range m.shards {
		kept += len(m.shards[i].young) + len(m.shards[i].old)
	}
	if kept > 64 {
		t.Errorf("%d entries kept, want 64 at most", kept)
	}
	m.drop(sum(5))
	if _, ok := m.get(sum(5)); ok {
		t.Error("a dropped entry is back")
	}
	if v, ok := m.get(sum(19999)); !ok || v != 19999 {
		t.Error("the newest entry is gone")
	}
}
