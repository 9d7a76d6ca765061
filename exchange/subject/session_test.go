package subject_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/subject"
)

const shopURL = "https://shop.test/sessions"

// shop plays an application with sessions. It refuses what a real one would refuse.
type shop struct {
	t *testing.T

	mu       sync.Mutex
	sessions map[string]string // value of the cookie sid → answer
	down     http.HandlerFunc  // in its place; nil: it is up
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		s.down(w, r)
		return
	}
	value := ""
	switch r.Method {
	case http.MethodPost:
		id, secret, _ := r.BasicAuth()
		if id != "cambio" || secret != url.QueryEscape("s3cret/of shop") {
			http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			return
		}
		if r.Header.Get("Cookie") != "" || r.PostFormValue("cookie_name") != "sid" {
			s.t.Error("the form is not what was asked for")
		}
		value = r.PostFormValue("token")
	case http.MethodGet:
		cookies := r.Cookies()
		if len(cookies) != 1 || cookies[0].Name != "sid" || r.Header.Get("Authorization") != "" {
			s.t.Error("more or less than the one cookie came")
			return
		}
		value = cookies[0].Value
	}
	answer, ok := s.sessions[value]
	w.Header().Set("Content-Type", "application/json")
	switch {
	case ok:
		_, _ = w.Write([]byte(answer))
	case r.Method == http.MethodGet:
		w.WriteHeader(http.StatusUnauthorized)
	default:
		_, _ = w.Write([]byte(`{"active":false}`))
	}
}

func (s *shop) say(value, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[value] = answer
}

func (s *shop) logOut(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, value)
}

func (s *shop) breakDown(f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = f
}

// shopTrust is the trust in its sessions.
func shopTrust() exchange.Trust {
	return exchange.Trust{
		Tenant: "default", Name: "shop", Kind: exchange.TrustSession, Hash: sha256.Sum256([]byte("shop")),
		Claims: map[string]string{"groups": "$.roles"}, Record: []string{"groups"},
		Session: &exchange.SessionTrust{
			Cookies: []string{"sid"}, Presenters: []map[string][]string{{"trust": {"prod"}}},
			Introspect: &exchange.Introspection{
				URL: shopURL, Method: "POST", ClientID: "cambio", ClientSecret: "${secret:shop}",
				Active: "$.active", Subject: "$.sub", Expires: "$.exp", Lifetime: 5 * time.Minute, PerSecond: 50,
			},
		},
	}
}

// sessionBench is a bench with the shop beside it.
type sessionBench struct {
	*bench
	shop *shop
}

func newSessionBench(t *testing.T, trusts ...exchange.Trust) *sessionBench {
	t.Helper()
	b := &bench{t: t, clock: &clock{now: noon}, house: newHouse(t), meter: &counts{}}
	b.Verifier = subject.New(subject.Options{
		Client: b.house.client, Now: b.clock.Now, Meter: b.meter, OwnIssuers: []string{"https://cambio.test"},
		Secret: func(reference, host string) (exchange.Secret, error) {
			if reference != "${secret:shop}" || host != "shop.test" {
				return exchange.Secret{}, errors.New("no such secret for that host")
			}
			return exchange.NewSecret("s3cret/of shop"), nil
		},
	})
	b.load(trusts...)
	s := &sessionBench{bench: b, shop: &shop{t: t, sessions: map[string]string{}}}
	b.house.handle(shopURL, s.shop.ServeHTTP)
	return s
}

func (b *sessionBench) present(trust, raw string) (exchange.Subject, error) {
	return b.Verify(context.Background(), exchange.Token{Value: exchange.NewSecret(raw), Type: exchange.SessionTokenType(trust)}, b.clock.Now())
}

func (b *sessionBench) turnsAway(trust, raw string, kind exchange.Kind, words string) {
	b.t.Helper()
	s, err := b.present(trust, raw)
	if err == nil || s.Name != "" {
		b.t.Fatalf("taken as %s, want %v: %s", s.Name, kind, words)
	}
	wantError(b.t, err, kind, words)
	if _, value, _ := strings.Cut(raw, "="); len(value) > 7 && strings.Contains(err.Error(), value) {
		b.t.Error("S37: the error quotes the cookie")
	}
}

// TestS37ASessionIsAskedAboutEachTime: what the application says at this moment counts,
// and nothing that it said before.
func TestS37ASessionIsAskedAboutEachTime(t *testing.T) {
	for _, method := range []string{"POST", "GET"} {
		trust := shopTrust()
		if method == "GET" {
			i := trust.Session.Introspect
			i.Method, i.ClientID, i.ClientSecret, i.Active = "GET", "", "", ""
		}
		b := newSessionBench(t, trust)
		b.shop.say("abc.def-1", `{"active":true,"sub":"alice","exp":1795262700,"roles":["buyers","staff"]}`) // 12:05
		for asked := 1; asked <= 2; asked++ {
			s, err := b.present("shop", "sid=abc.def-1")
			if err != nil {
				t.Fatal(method, err)
			}
			if s.Name != "session:shop:alice" || s.Trust != "shop" || s.Kind != exchange.TrustSession || s.ID != "alice" || s.TrustHash != trust.Hash ||
				!s.Expires.Equal(noon.Add(5*time.Minute)) || s.Clientless != exchange.ClientlessWithActor {
				t.Errorf("%s: %+v", method, s)
			}
			if got := s.Attributes["groups"]; len(got) != 2 || s.Attributes["cookie"][0] != "sid" || s.Record["cookie"][0] != "sid" || len(s.Record["groups"]) != 2 {
				t.Errorf("%s: %v, recorded %v", method, s.Attributes, s.Record)
			}
			if n := b.house.count(shopURL); n != asked {
				t.Errorf("%s: asked %d times, want %d", method, n, asked)
			}
		}
		b.shop.logOut("abc.def-1")
		b.turnsAway("shop", "sid=abc.def-1", exchange.KindInvalidSubject, "does not stand any more")
	}
}

// TestS37ACacheIsWhatTheTrustAllows: for so long an answer is good, and no longer than
// the session.
func TestS37ACacheIsWhatTheTrustAllows(t *testing.T) {
	trust := shopTrust()
	trust.Session.Introspect.Cache = 10 * time.Second
	b := newSessionBench(t, trust)
	b.shop.say("long-lived", `{"active":true,"sub":"alice"}`)
	b.shop.say("short-lived", `{"active":true,"sub":"bob","exp":1795262405}`) // 12:00:05
	for _, raw := range []string{"sid=long-lived", "sid=short-lived"} {
		if _, err := b.present("shop", raw); err != nil {
			t.Fatal(err)
		}
	}
	b.shop.logOut("long-lived")
	b.clock.advance(9 * time.Second)
	if s, err := b.present("shop", "sid=long-lived"); err != nil || !s.Expires.Equal(noon.Add(5*time.Minute)) {
		t.Errorf("remembered: %v, until %v", err, s.Expires)
	}
	b.turnsAway("shop", "sid=short-lived", exchange.KindInvalidSubject, "does not stand any more")
	b.clock.advance(time.Second)
	b.turnsAway("shop", "sid=long-lived", exchange.KindInvalidSubject, "does not stand any more")
}

// TestS37WhatIsNoAnswerIsNoYes: whatever keeps the application from saying yes.
func TestS37WhatIsNoAnswerIsNoYes(t *testing.T) {
	say := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	good := `"sub":"alice","exp":1795262700`
	for name, c := range map[string]struct {
		method string
		answer http.HandlerFunc
		gone   bool // else 503
	}{
		"down":                      {"POST", say(502, ""), false},
		"it does not know us":       {"POST", say(401, `{"error":"invalid_client"}`), false},
		"a page":                    {"POST", say(200, "<html>log in</html>"), false},
		"a redirect":                {"POST", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, shopURL+"/login", http.StatusFound) }, false},
		"nothing":                   {"POST", say(200, ""), false},
		"members twice":             {"POST", say(200, `{"active":false,"active":true,`+good+`}`), false},
		"no active":                 {"POST", say(200, `{`+good+`}`), false},
		"active as text":            {"POST", say(200, `{"active":"true",`+good+`}`), false},
		"active as a number":        {"POST", say(200, `{"active":1,`+good+`}`), false},
		"inactive":                  {"POST", say(200, `{"active":false,`+good+`}`), true},
		"nobody's":                  {"POST", say(200, `{"active":true}`), false},
		"of an object":              {"POST", say(200, `{"active":true,"sub":{"id":1}}`), false},
		"of an empty name":          {"POST", say(200, `{"active":true,"sub":""}`), false},
		"of too long a name":        {"POST", say(200, `{"active":true,"sub":"`+strings.Repeat("a", 513)+`"}`), false},
		"over":                      {"POST", say(200, `{"active":true,"sub":"alice","exp":1795262400}`), true},
		"an end that is no moment":  {"POST", say(200, `{"active":true,"sub":"alice","exp":"tomorrow"}`), false},
		"too long":                  {"POST", say(200, `{"active":true,`+good+`,"x":"`+strings.Repeat("a", 1<<20)+`"}`), false},
		"a cookie nobody has":       {"GET", say(401, ""), true},
		"a cookie that may nothing": {"GET", say(403, ""), true},
		"an empty answer":           {"GET", say(200, "{}"), true},
		"null":                      {"GET", say(200, "null\n"), true},
		"not found":                 {"GET", say(404, "{}"), false},
		"a page for a cookie":       {"GET", say(200, "<html>"), false},
	} {
		t.Run(name, func(t *testing.T) {
			trust := shopTrust()
			if c.method == "GET" {
				i := trust.Session.Introspect
				i.Method, i.ClientID, i.ClientSecret, i.Active = "GET", "", "", ""
			}
			b := newSessionBench(t, trust)
			b.shop.breakDown(c.answer)
			if c.gone {
				b.turnsAway("shop", "sid=0123456789abcdef", exchange.KindInvalidSubject, "does not stand any more")
			} else {
				b.turnsAway("shop", "sid=0123456789abcdef", exchange.KindUnavailable, "could not be asked")
			}
		})
	}
}

// TestS37CookiesThatAreNotRead: what is refused before anybody is asked.
func TestS37CookiesThatAreNotRead(t *testing.T) {
	b := newSessionBench(t, shopTrust())
	for raw, words := range map[string]string{
		"":                                    "name=value",
		"0123456789abcdef":                    "name=value",
		"=0123456789abcdef":                   "not a cookie's name",
		"sid=":                                "no value",
		"other=0123456789abcdef":              "was not read",
		"SID=0123456789abcdef":                "was not read",
		"other=bad\r\nvalue":                  "was not read",
		"Cookie: sid=0123456789abcdef":        "not a cookie's name",
		"sid=0123456789abcdef\r\nX-Admin: 1":  "line break",
		"sid=0123456789abcdef\n":              "line break",
		"sid=0123456789\x00abcdef":            "control character",
		"sid=0123456789\x7fabcdef":            "control character",
		`sid="0123456789abcdef"`:              "without quotes",
		"sid=0123456789; other=2":             "one cookie",
		"sid=0123456789, sid=2":               "one cookie",
		"sid=0123456789 abcdef":               "one cookie",
		`sid=0123456789\abcdef`:               "characters that cookies do not have",
		"sid=0123456789é":                     "character that cookies do not have",
		"sid=" + strings.Repeat("a", 100<<10): "longer than 8192 bytes",
		"sid=" + strings.Repeat("a", 8189):    "longer than 8192 bytes",
	} {
		words = strings.Replace(words, "characters that", "character that", 1)
		b.turnsAway("shop", raw, exchange.KindInvalidSubject, words)
	}
	b.turnsAway("stop", "sid=0123456789abcdef", exchange.KindInvalidSubject, "no trust takes sessions")
	b.turnsAway("", "sid=0123456789abcdef", exchange.KindInvalidSubject, "no trust takes sessions")
	if n := b.house.count(shopURL); n != 0 {
		t.Errorf("the application was asked %d times", n)
	}
	b.shop.say(strings.Repeat("a", 8188), `{"active":true,"sub":"alice"}`)
	if _, err := b.present("shop", "sid="+strings.Repeat("a", 8188)); err != nil {
		t.Error(err)
	}
}

// TestS37QuestionsAreBounded: callers cause so many questions and no more.
func TestS37QuestionsAreBounded(t *testing.T) {
	trust := shopTrust()
	trust.Session.Introspect.PerSecond = 2
	b := newSessionBench(t, trust)
	for range 4 {
		b.turnsAway("shop", "sid=0123456789abcdef", exchange.KindInvalidSubject, "does not stand any more")
	}
	b.turnsAway("shop", "sid=0123456789abcdef", exchange.KindThrottled, "try again")
	if n := b.house.count(shopURL); n != 4 {
		t.Errorf("asked %d times", n)
	}
	b.clock.advance(time.Second)
	b.turnsAway("shop", "sid=0123456789abcdef", exchange.KindInvalidSubject, "does not stand any more")
}

// signedShop is the trust in cookies that are a JWT of the issuer login.
func signedShop(keys signer, t *testing.T) exchange.Trust {
	trust := shopTrust()
	trust.Issuer, trust.Audiences = login, []string{"shop"}
	trust.Keys = exchange.KeySource{File: writeFile(t, "jwks", keySetOf(keys))}
	trust.Session.Introspect = nil
	return trust
}

// TestS37ASignedSession: a cookie that is a JWT is verified like any token, by the keys
// of its trust, under its own label and no other.
func TestS37ASignedSession(t *testing.T) {
	key := newES256("k")
	b := newSessionBench(t, signedShop(key, t))
	jwt := key.token(person(map[string]any{"aud": "shop", "roles": []string{"staff"}}))
	for range 2 { // from the cache, too
		s, err := b.present("shop", "sid="+jwt)
		if err != nil {
			t.Fatal(err)
		}
		if s.Name != "session:shop:alice" || !s.Expires.Equal(noon.Add(10*time.Minute)) || s.Attributes["cookie"][0] != "sid" || s.Record["groups"][0] != "staff" {
			t.Errorf("%+v", s)
		}
	}
	b.refuses(jwt, exchange.KindInvalidSubject, "no trust accepts the issuer")
	b.refuses("shop\x00sid="+jwt, exchange.KindInvalidSubject, "malformed")
	b.turnsAway("shop", "sid="+newES256("k").token(person(map[string]any{"aud": "shop"})), exchange.KindInvalidSubject, "signature")
	b.turnsAway("shop", "sid="+key.token(person(map[string]any{"aud": "cambio"})), exchange.KindInvalidSubject, "another audience")
	b.turnsAway("shop", "sid="+key.token(person(map[string]any{"aud": "shop", "iss": "https://other.test"})), exchange.KindInvalidSubject, "not of the issuer")
	b.turnsAway("shop", "sid=a.b.c.d.e", exchange.KindInvalidSubject, "encrypted")
	b.turnsAway("shop", "sid=opaque-value", exchange.KindInvalidSubject, "three parts")
	b.clock.advance(10 * time.Minute)
	b.turnsAway("shop", "sid="+jwt, exchange.KindInvalidSubject, "expired")
}

// TestS37ASignedSessionIsAskedAbout: where the trust has both, both must say yes, and of
// the same person.
func TestS37ASignedSessionIsAskedAbout(t *testing.T) {
	key := newES256("k")
	trust := signedShop(key, t)
	trust.Session.Introspect = shopTrust().Session.Introspect
	b := newSessionBench(t, trust)
	jwt := key.token(person(map[string]any{"aud": "shop"}))
	b.shop.say(jwt, `{"active":true,"exp":1795262460}`) // 12:01
	if s, err := b.present("shop", "sid="+jwt); err != nil || !s.Expires.Equal(noon.Add(time.Minute)) {
		t.Errorf("%v, until %v", err, s.Expires)
	}
	b.shop.say(jwt, `{"active":true,"sub":"alice","exp":1795299999}`)
	if s, err := b.present("shop", "sid="+jwt); err != nil || !s.Expires.Equal(noon.Add(10*time.Minute)) {
		t.Errorf("%v, until %v", err, s.Expires)
	}
	b.shop.say(jwt, `{"active":true,"sub":"mallory"}`)
	b.turnsAway("shop", "sid="+jwt, exchange.KindInvalidSubject, "somebody else")
	b.shop.logOut(jwt)
	b.turnsAway("shop", "sid="+jwt, exchange.KindInvalidSubject, "does not stand any more")
	asked := b.house.count(shopURL)
	b.turnsAway("shop", "sid="+newES256("k").token(person(map[string]any{"aud": "shop"})), exchange.KindInvalidSubject, "signature")
	if b.house.count(shopURL) != asked {
		t.Error("the application was asked about what nobody signed")
	}
}

// TestS37SessionTrustsAtFault: what a trust in sessions may not say.
func TestS37SessionTrustsAtFault(t *testing.T) {
	b := newSessionBench(t, shopTrust())
	for words, spoil := range map[string]func(*exchange.Trust){
		"cookie_names: name the cookies":     func(t *exchange.Trust) { t.Session.Cookies = nil },
		"not a cookie's name":                func(t *exchange.Trust) { t.Session.Cookies = []string{"s=id"} },
		"stands there twice":                 func(t *exchange.Trust) { t.Session.Cookies = []string{"a", "a"} },
		"presenters: say who":                func(t *exchange.Trust) { t.Session.Presenters = nil },
		"introspect: say how":                func(t *exchange.Trust) { t.Session.Introspect = nil },
		"introspect.url: it must begin":      func(t *exchange.Trust) { t.Session.Introspect.URL = "http://shop.test" },
		"introspect.method":                  func(t *exchange.Trust) { t.Session.Introspect.Method = "PUT" },
		"introspect.client_id: with GET":     func(t *exchange.Trust) { t.Session.Introspect.Method = "GET" },
		"stand together":                     func(t *exchange.Trust) { t.Session.Introspect.ClientSecret = "" },
		"introspect.active":                  func(t *exchange.Trust) { t.Session.Introspect.Active = "active" },
		"introspect.subject":                 func(t *exchange.Trust) { t.Session.Introspect.Subject = "" },
		"introspect.cache":                   func(t *exchange.Trust) { t.Session.Introspect.Cache = time.Hour },
		"introspect.lifetime":                func(t *exchange.Trust) { t.Session.Introspect.Lifetime = 24 * time.Hour },
		"introspect.per_second":              func(t *exchange.Trust) { t.Session.Introspect.PerSecond = 0 },
		"audiences: it is for cookies":       func(t *exchange.Trust) { t.Audiences = []string{"shop"} },
		"audiences: name at least one":       func(t *exchange.Trust) { t.Issuer = login },
		"issuer: it is Cambio itself":        func(t *exchange.Trust) { t.Issuer, t.Audiences = "https://cambio.test", []string{"shop"} },
		"clientless: presenters":             func(t *exchange.Trust) { t.Clientless = true },
		"single_use":                         func(t *exchange.Trust) { t.SingleUse = true },
		"claims.cookie":                      func(t *exchange.Trust) { t.Claims = map[string]string{"cookie": "$.x"} },
		"session: only a session trust":      func(t *exchange.Trust) { t.Kind, t.Issuer, t.Audiences = exchange.TrustOIDC, login, []string{"shop"} },
		`trust "corp" takes the same tokens`: func(t *exchange.Trust) { t.Issuer, t.Audiences = login, []string{"cambio"} },
	} {
		trust := shopTrust()
		session, introspect := *trust.Session, *trust.Session.Introspect
		trust.Session, session.Introspect = &session, &introspect
		spoil(&trust)
		found := false
		for _, err := range b.Check([]exchange.Trust{corp(), trust}) {
			found = found || strings.Contains(err.Error(), words)
		}
		if !found {
			t.Errorf("no fault says %q: %v", words, b.Check([]exchange.Trust{corp(), trust}))
		}
	}
	if faults := b.Check([]exchange.Trust{corp(), shopTrust()}); len(faults) > 0 {
		t.Error(faults)
	}
	unbound := shopTrust()
	introspect := *unbound.Session.Introspect
	introspect.ClientSecret = "${secret:other}"
	unbound.Session.Introspect = &introspect
	if err := b.Load([]exchange.Trust{unbound}); err == nil || !strings.Contains(err.Error(), "introspect.client_secret") {
		t.Errorf("S20: a secret that is not for that host: %v", err)
	}
	if st := b.Status(); len(st) != 1 || st[0].Trust != "shop" || st[0].Err != nil {
		t.Errorf("%+v", st)
	}
	if err := b.Refresh(context.Background()); err != nil {
		t.Error(err)
	}
}

// Whatever is sent in place of a cookie, what reaches the application is one cookie of
// an allowed name, and its value as it was sent.
func FuzzCookie(f *testing.F) {
	for _, seed := range []string{"sid=abc", "sid=a=b", "sid=", "other=1", "sid=a; b=c", "sid=a\r\nX: 1", `sid="a"`, "sid=\x00", "=", "", "sid=é", "__Host-sid=1"} {
		f.Add(seed)
	}
	house := newHouse(f)
	var mu sync.Mutex
	got := ""
	house.handle(shopURL, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = r.Header.Get("Cookie")
		_, _ = w.Write([]byte(`{"sub":"alice"}`))
	})
	trust := shopTrust()
	i := trust.Session.Introspect
	i.Method, i.ClientID, i.ClientSecret, i.Active, i.PerSecond = "GET", "", "", "", 10_000
	at := &clock{now: noon}
	v := subject.New(subject.Options{Client: house.client, Now: at.Now})
	if err := v.Load([]exchange.Trust{trust}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		at.advance(time.Second)
		_, err := v.Verify(context.Background(), exchange.Token{Value: exchange.NewSecret(raw), Type: exchange.SessionTokenType("shop")}, noon)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil && (got != raw || !strings.HasPrefix(raw, "sid=") || strings.ContainsAny(raw, "\r\n;, \"\\\x00")):
			t.Errorf("sent %q for %q", got, raw)
		case err != nil && exchange.KindOf(err) != exchange.KindInvalidSubject:
			t.Error(err)
		}
		got = ""
	})
}
