package subject_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
)

// twins returns a bench that knows a signer of each key type, and those signers.
func twins(t testing.TB, changes ...func(*exchange.Trust)) (*bench, map[string]signer) {
	t.Helper()
	signers := map[string]signer{
		"RS256": {"RS256", "r", rsaKey()}, "ES256": {"ES256", "e", p256()}, "PS256": {"PS256", "p", otherRSA()}, "EdDSA": {"EdDSA", "d", ed()},
	}
	trust := corp()
	for _, c := range changes {
		c(&trust)
	}
	b := newBench(t, trust)
	b.house.issuer(login, signers["RS256"], signers["ES256"], signers["PS256"], signers["EdDSA"])
	return b, signers
}

// hmacWith signs with a "shared secret".
func hmacWith(secret []byte, header, claims string) string {
	input := b64([]byte(header)) + "." + b64([]byte(claims))
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(input))
	return input + "." + b64(m.Sum(nil))
}

// Each bent token is signed again by the right key, so that it is refused for its
// bend and for nothing else.
func TestS9BentTokensAreRefused(t *testing.T) {
	b, signers := twins(t)
	e, r := signers["ES256"], signers["RS256"]
	good := string(marshal(person(nil)))
	header := e.header()
	with := func(claims map[string]any) string { return e.token(person(claims)) }
	headed := func(member string) string { return e.seal("{"+member+","+header[1:], good) }
	claimed := func(member string) string { return e.seal(header, "{"+member+","+good[1:]) }
	spki := must(x509.MarshalPKIXPublicKey(rsaKey().Public()))
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})

	b.accepts(e.seal(header, good))
	for _, c := range []struct{ name, raw, words string }{
		{"empty", "", "empty"},
		{"one word", "not-a-token", "three parts"},
		{"1 MB of dots", strings.Repeat(".", 1<<20), "longer than"},
		{"32 KiB of dots", strings.Repeat(".", 32<<10), "three parts"},
		{"too long", with(map[string]any{"x": strings.Repeat("a", 32<<10)}), "longer than"},
		{"JSON serialization", `{"payload":"e30","protected":"e30","signature":"AA"}`, "compact"},
		{"JWE", "a.b.c.d.e", "JWE"},
		{"empty parts", "..", "canonical"},

		{"alg none, no signature", b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(good)) + ".", "algorithm"},
		{"alg none, signed", e.seal(`{"alg":"none","kid":"e"}`, good), "algorithm"},
		{"alg None", e.seal(`{"alg":"None","kid":"e"}`, good), "algorithm"},
		{"alg missing", e.seal(`{"kid":"e"}`, good), "algorithm"},
		{"alg a number", e.seal(`{"alg":256,"kid":"e"}`, good), `"alg" must be a string`},
		{"HS256 with the public key in PEM", hmacWith(publicPEM, `{"alg":"HS256","kid":"r"}`, good), "algorithm"},
		{"HS256 with the public key in DER", hmacWith(spki, `{"alg":"HS256","kid":"r"}`, good), "algorithm"},
		{"HS256 with the JWK Set", hmacWith(keySetOf(r), `{"alg":"HS256","kid":"r"}`, good), "algorithm"},
		{"RS256 by the key of ES256", e.seal(`{"alg":"RS256","kid":"e"}`, good), "does not publish"},
		{"PS256 by the key of RS256", signer{"PS256", "r", rsaKey()}.token(person(nil)), "does not publish"},
		{"RS384, not on the trust's list", signer{"RS384", "r", rsaKey()}.token(person(nil)), "not accepted for its issuer"},
		{"ES256 in lower case", e.seal(`{"alg":"es256","kid":"e"}`, good), "algorithm"},

		{"kid unknown", signer{"ES256", "x", p256()}.token(person(nil)), "does not publish"},
		{"kid of another key", signer{"ES256", "r", p256()}.token(person(nil)), "does not publish"},
		{"kid empty", e.seal(`{"alg":"ES256","kid":""}`, good), `"kid" must be`},
		{"kid a number", e.seal(`{"alg":"ES256","kid":7}`, good), `"kid" must be`},
		{"kid too long", e.seal(`{"alg":"ES256","kid":"`+strings.Repeat("k", 513)+`"}`, good), `"kid" must be`},
		{"kid in other letters", e.seal(`{"alg":"ES256","Kid":"e"}`, good), "other letters"},
		{"kid with a Kelvin sign", e.seal("{\"alg\":\"ES256\",\"\u212aid\":\"e\"}", good), "other letters"},
		{"signed by a stranger", signer{"ES256", "e", newES256("e").private}.token(person(nil)), "signature does not verify"},
		{"key inside", signer{"ES256", "e", newES256("e").private}.seal(`{"alg":"ES256","kid":"e","jwk":`+string(jwk(newES256("e")))+`}`, good), "signature does not verify"},

		{"crit", headed(`"crit":["exp"]`), "crit"},
		{"crit empty", headed(`"crit":[]`), "crit"},
		{"crit null", headed(`"crit":null`), "crit"},
		{"b64 false", headed(`"b64":false`), "b64"},
		{"b64 true", headed(`"b64":true`), "b64"},
		{"zip", headed(`"zip":"DEF"`), "zip"},
		{"enc", headed(`"enc":"A128GCM"`), "enc"},
		{"Crit", headed(`"Crit":["x"]`), "other letters"},
		{"header member twice", headed(`"alg":"ES256"`), "twice"},
		{"header member twice, escaped", headed(`"\u0061lg":"none"`), "twice"},
		{"header an array", e.seal(`["ES256"]`, good), "not a JSON object"},
		{"header with a tail", e.seal(header+"{}", good), "follows"},
		{"header not UTF-8", e.seal("{\"x\":\"\xff\","+header[1:], good), "UTF-8"},
		{"typ of a proof", headed(`"typ":"dpop+jwt"`), "typ is not accepted"},
		{"typ of an ID-JAG", headed(`"typ":"oauth-id-jag+jwt"`), "typ is not accepted"},
		{"typ of a logout", headed(`"typ":"logout+jwt"`), "typ is not accepted"},
		{"typ a list", headed(`"typ":["JWT"]`), `"typ" must be`},

		{"claim twice", claimed(`"sub":"mallory"`), "twice"},
		{"claim twice, escaped", claimed(`"\u0073ub":"mallory"`), "twice"},
		{"claim twice, deep", claimed(`"x":[{"a":{"b":1,"b":2}}]`), "twice"},
		{"EXP beside exp", claimed(`"EXP":4102444800`), "other letters"},
		{"Iss beside iss", claimed(`"Iss":"https://login.test"`), "other letters"},
		{"long s in sub", claimed("\"\u017fub\":\"mallory\""), "other letters"},
		{"EXP only", with(map[string]any{"exp": nil, "EXP": 4102444800}), "other letters"},
		{"Aud only", with(map[string]any{"aud": nil, "Aud": "cambio"}), "other letters"},
		{"CNF", claimed(`"CNF":{"jkt":"x"}`), "other letters"},
		{"claims an array", e.seal(header, "["+good+"]"), "not a JSON object"},
		{"claims empty", e.seal(header, "{}"), `no "aud"`},
		{"claims with a tail", e.seal(header, good+" x"), "follows"},
		{"claims nested too deeply", claimed(`"x":` + strings.Repeat("[", 20) + strings.Repeat("]", 20)), "deeply"},
		{"claims with a comment", claimed(`/**/"x":1`), "not valid JSON"},
		{"claims with a comma at the end", e.seal(header, good[:len(good)-1]+",}"), "not valid JSON"},
		{"half a surrogate pair", claimed(`"x":"\ud800"`), "UTF-8"},
		{"byte order mark", e.seal(header, "\ufeff"+good), "not a JSON object"},

		{"exp missing", with(map[string]any{"exp": nil}), `no "exp"`},
		{"exp a string", with(map[string]any{"exp": "4102444800"}), `"exp" must be a number`},
		{"exp null", claimedWithout(e, "exp", "null"), `"exp" must be a number`},
		{"exp zero", with(map[string]any{"exp": 0}), `"exp" must be a number`},
		{"exp negative", with(map[string]any{"exp": -1}), `"exp" must be a number`},
		{"exp beyond all dates", claimedWithout(e, "exp", "1e300"), `"exp" must be a number`},
		{"exp longer than 64 bits", claimedWithout(e, "exp", "99999999999999999999"), `"exp" must be a number`},
		{"exp not a number", claimedWithout(e, "exp", "0x7fffffff"), "not valid JSON"},
		{"exp now", with(map[string]any{"exp": noon.Unix()}), "expired"},
		{"exp a second past", with(map[string]any{"exp": noon.Unix() - 1}), "expired"},
		{"exp a fraction past", claimedWithout(e, "exp", fmt.Sprintf("%d.5", noon.Unix()-1)), "expired"},
		{"nbf beyond the leeway", with(map[string]any{"nbf": noon.Unix() + 31}), "nbf"},
		{"nbf a string", with(map[string]any{"nbf": "1"}), `"nbf" must be a number`},
		{"iat beyond the leeway", with(map[string]any{"iat": noon.Unix() + 31}), "iat"},
		{"iat true", with(map[string]any{"iat": true}), `"iat" must be a number`},

		{"iss missing", with(map[string]any{"iss": nil}), "no trust accepts the issuer"},
		{"iss unknown", with(map[string]any{"iss": "https://evil.test"}), "no trust accepts the issuer"},
		{"iss with a slash", with(map[string]any{"iss": login + "/"}), "no trust accepts the issuer"},
		{"iss a list", with(map[string]any{"iss": []string{login}}), `"iss" must be a string`},
		{"sub missing", with(map[string]any{"sub": nil}), `no "sub"`},
		{"sub empty", with(map[string]any{"sub": ""}), `"sub" must be a string`},
		{"sub a number", with(map[string]any{"sub": 7}), `"sub" must be a string`},
		{"sub too long", with(map[string]any{"sub": strings.Repeat("s", 513)}), `"sub" must be a string`},
		{"jti a number", with(map[string]any{"jti": 7}), `"jti" must be a string`},
		{"azp a list", with(map[string]any{"azp": []string{"cli"}}), `"azp" must be a string`},
		{"aud missing", with(map[string]any{"aud": nil}), `no "aud"`},
		{"aud null", claimedWithout(e, "aud", "null"), `"aud" must be a string`},
		{"aud empty list", with(map[string]any{"aud": []string{}}), `"aud" must name`},
		{"aud foreign", with(map[string]any{"aud": "vault"}), "another audience"},
		{"aud in other letters", with(map[string]any{"aud": "Cambio"}), "another audience"},
		{"aud with a tail", with(map[string]any{"aud": "cambio "}), "another audience"},
		{"aud a list with a number", with(map[string]any{"aud": []any{"cambio", 7}}), `"aud" must be a string`},
		{"aud nested", with(map[string]any{"aud": []any{[]string{"cambio"}}}), `"aud" must be a string`},
		{"aud too many", with(map[string]any{"aud": strings.Split(strings.Repeat("cambio ", 65), " ")[:65]}), `"aud" must name`},

		{"act a string", with(map[string]any{"act": "bob"}), `"act" must be an object`},
		{"act null", claimed(`"act":null`), `"act" must be an object`},
		{"act nobody", with(map[string]any{"act": map[string]any{}}), `"act" must say who`},
		{"act nested wrongly", with(map[string]any{"act": map[string]any{"sub": "b", "act": 1}}), `"act" must be an object`},
		{"act too deep", claimed(`"act":` + strings.Repeat(`{"sub":"a","act":`, 8) + `{"sub":"a"}` + strings.Repeat("}", 8)), "too long"},
		{"act too long", claimed(`"act":` + strings.Repeat(`{"sub":"`+strings.Repeat("a", 500)+`","act":`, 4) + `{"sub":"a"}` + strings.Repeat("}", 4)), "too long"},
		{"may_act a list", with(map[string]any{"may_act": []string{"bob"}}), `"may_act" must be an object`},
		{"may_act nobody", with(map[string]any{"may_act": map[string]any{"iss": login}}), `"may_act" must say who`},
		{"groups of objects", with(map[string]any{"groups": []any{map[string]any{"a": 1}}}), `"groups" must be`},
		{"groups too many", with(map[string]any{"groups": strings.Split(strings.Repeat("g ", 1100), " ")}), `"groups" must be`},
		{"email_verified a number", with(map[string]any{"email": "a@b", "email_verified": 1}), "email_verified"},

		{"signature padded", e.seal(header, good) + "=", "canonical"},
		{"signature with a line break", e.seal(header, good) + "\n", "canonical"},
		{"header padded", e.finish(b64([]byte(header)) + "=." + b64([]byte(good))), "canonical"},
		{"claims in standard base64", e.finish(b64([]byte(header)) + "." + b64([]byte(good)) + "+/"), "canonical"},
		{"stray bits in the header", e.finish(stray(t, header) + "." + b64([]byte(good))), "canonical"},
		{"stray bits in the claims", e.finish(b64([]byte(header)) + "." + stray(t, good)), "canonical"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			b.refuses(c.raw, exchange.KindInvalidSubject, c.words)
		})
	}
}

func jwk(s signer) []byte {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(keySetOf(s), &set); err != nil {
		panic(err)
	}
	return set.Keys[0]
}

// claimedWithout replaces one claim by a literal.
func claimedWithout(s signer, name, literal string) string {
	c := string(marshal(person(map[string]any{name: nil})))
	return s.seal(s.header(), `{"`+name+`":`+literal+","+c[1:])
}

// stray encodes text so that its last character has bits that mean nothing.
func stray(t *testing.T, text string) string {
	for len(text)%3 != 2 { // JSON may end in spaces
		text += " "
	}
	encoded := b64([]byte(text))
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, encoded[len(encoded)-1])
	if last&3 != 0 {
		t.Fatal("the last bits are taken")
	}
	return encoded[:len(encoded)-1] + string(alphabet[last|1])
}

// What is not a bend.
func TestGoodTokensOfManyShapes(t *testing.T) {
	b, signers := twins(t)
	e := signers["ES256"]
	good := string(marshal(person(nil)))
	certificate := base64.StdEncoding.EncodeToString(b.house.server.Certificate().Raw)
	for name, s := range signers {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.accepts(s.token(person(nil)))
			s.id = "" // no kid: every key of the algorithm is tried
			b.accepts(s.token(person(nil)))
		})
	}
	for name, raw := range map[string]string{
		"aud a list":               e.token(person(map[string]any{"aud": []string{"reports", "cambio"}})),
		"exp with a fraction":      claimedWithout(e, "exp", fmt.Sprintf("%d.75", noon.Unix()+60)),
		"exp with an exponent":     claimedWithout(e, "exp", "1.795953601e9"),
		"nbf within the leeway":    e.token(person(map[string]any{"nbf": noon.Unix() + 30})),
		"iat within the leeway":    e.token(person(map[string]any{"iat": noon.Unix() + 30})),
		"no iat":                   e.token(person(map[string]any{"iat": nil})),
		"typ with application/":    e.seal(`{"typ":"application/at+jwt",`+e.header()[1:], good),
		"typ JwT":                  e.seal(`{"typ":"JwT",`+e.header()[1:], good),
		"jku and x5u are ignored":  e.seal(`{"jku":"https://evil.test/keys","x5u":"https://evil.test/c","x5t":"AAAA","x5c":["`+certificate+`"],`+e.header()[1:], good),
		"jwk is ignored":           e.seal(`{"jwk":`+string(jwk(newES256("e")))+`,`+e.header()[1:], good),
		"spaces in JSON":           e.seal(" "+e.header()+"\n", "\t"+good+"\r\n"),
		"unicode":                  e.token(person(map[string]any{"name": "Zoë \U0001F600", "n": nil})),
		"escaped surrogates":       e.seal(e.header(), `{"name":"\ud83d\ude00",`+good[1:]),
		"a claim that is like exp": e.token(person(map[string]any{"expires": "x", "Email": "x", "Groups": 1})),
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.accepts(raw)
		})
	}
	if n := b.house.count("https://evil.test/keys"); n != 0 {
		t.Errorf("a URL of a token was fetched %d times", n)
	}
}

// No change of one byte anywhere in a signed token gets through, save in ECDSA,
// where a signature that verifies cannot be made without the key either.
func TestAnyChangedByteIsRefused(t *testing.T) {
	b, signers := twins(t)
	raws := map[string]string{}
	for name, s := range signers {
		raws[name] = s.token(person(nil))
		b.accepts(raws[name])
	}
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom([]string{"RS256", "ES256", "PS256", "EdDSA"}).Draw(rt, "algorithm")
		raw := raws[name]
		at := rapid.IntRange(0, len(raw)-1).Draw(rt, "at")
		c := rapid.Byte().Draw(rt, "byte")
		if c == raw[at] {
			return
		}
		bent := raw[:at] + string([]byte{c}) + raw[at+1:]
		if s, err := b.verify(bent); err == nil {
			rt.Fatalf("accepted as %s", s.Name)
		} else if kind := exchange.KindOf(err); kind != exchange.KindInvalidSubject {
			rt.Fatalf("%v: %v", kind, err)
		}
	})
}

// Advice reaches callers whom nothing has identified: it names no trust, no
// audience of ours, and nothing from the token.
func TestAdviceTellsNothing(t *testing.T) {
	b, signers := twins(t, func(tr *exchange.Trust) { tr.Audiences = []string{"internal-audience"} })
	e := signers["ES256"]
	for _, raw := range []string{
		e.token(person(nil)),
		e.token(person(map[string]any{"iss": "https://canary.test"})),
		e.token(person(map[string]any{"aud": "canary", "sub": "canary"})),
		e.token(person(map[string]any{"exp": noon.Unix()})),
		swapClaims(e.token(person(nil)), `"canary":"canary"`),
		e.seal(`{"alg":"canary"}`, `{}`), "canary",
	} {
		_, err := b.verify(raw)
		advice := ""
		if e, ok := err.(*exchange.Error); ok {
			advice = e.Advice
		}
		if raw != "canary" && strings.Contains(err.Error(), raw[len(raw)-20:]) {
			t.Errorf("a piece of the token in %v (S39)", err)
		}
		for _, secret := range []string{"internal-audience", "corp", login, "canary", "default"} {
			if advice == "" || strings.Contains(advice, secret) {
				t.Errorf("advice %q tells %q", advice, secret)
			}
		}
	}
}

func TestLeewayAndAgeByTrust(t *testing.T) {
	b, signers := twins(t, func(tr *exchange.Trust) {
		tr.Leeway, tr.MaxAge = 5*time.Second, 10*time.Minute
	})
	e := signers["ES256"]
	aged := func(age time.Duration) string {
		return e.token(person(map[string]any{"iat": noon.Add(-age).Unix(), "exp": noon.Add(time.Hour).Unix()}))
	}
	b.accepts(aged(10 * time.Minute))
	b.refuses(aged(10*time.Minute+time.Second), exchange.KindInvalidSubject, "too old")
	b.refuses(e.token(person(map[string]any{"iat": nil})), exchange.KindInvalidSubject, "when it was issued")
	b.accepts(e.token(person(map[string]any{"nbf": noon.Unix() + 5})))
	b.refuses(e.token(person(map[string]any{"nbf": noon.Unix() + 6})), exchange.KindInvalidSubject, "nbf")

	// A remembered token grows old as well.
	raw := aged(9 * time.Minute)
	b.accepts(raw)
	b.clock.advance(2 * time.Minute)
	b.refuses(raw, exchange.KindInvalidSubject, "too old")
}

func TestAlgorithmsAndTypesByTrust(t *testing.T) {
	b, signers := twins(t, func(tr *exchange.Trust) {
		tr.Algorithms, tr.Types = []string{"ES256", "ES384"}, []string{"AT+JWT"}
	})
	e := signers["ES256"]
	good := string(marshal(person(nil)))
	typed := func(s signer, typ string) string { return s.seal(`{"typ":"`+typ+`",`+s.header()[1:], good) }
	b.accepts(typed(e, "at+jwt"))
	b.refuses(typed(e, "JWT"), exchange.KindInvalidSubject, "typ is not accepted")
	b.refuses(e.token(person(nil)), exchange.KindInvalidSubject, "typ is not accepted")
	b.refuses(typed(signers["RS256"], "at+jwt"), exchange.KindInvalidSubject, "not accepted for its issuer")
	// The right curve for the algorithm, under a name that says otherwise.
	b.refuses(typed(signer{"ES384", "e", p384()}, "at+jwt"), exchange.KindInvalidSubject, "does not publish")
}
