package subject_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/subject"
)

const (
	apiServer = "https://api.blue.test:6443"
	reviews   = apiServer + "/apis/authentication.k8s.io/v1/tokenreviews"
)

// apiFake plays an API server: it refuses what the real one would refuse before
// it answers from its recordings, by token.
type apiFake struct {
	t         *testing.T
	bearer    string
	audiences []string

	mu      sync.Mutex
	answers map[string][]byte
	asked   int
}

func (a *apiFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if r.Header.Get("Authorization") != "Bearer "+a.bearer {
		http.Error(w, `{"kind":"Status","status":"Failure","reason":"Unauthorized","code":401}`, http.StatusUnauthorized)
		return
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "{}", http.StatusUnsupportedMediaType)
		return
	}
	var body struct {
		APIVersion, Kind string
		Spec             struct {
			Token     string
			Audiences []string
		}
	}
	d := json.NewDecoder(r.Body)
	if err := d.Decode(&body); err != nil || d.Decode(new(any)) != io.EOF || body.Kind != "TokenReview" || body.APIVersion != "authentication.k8s.io/v1" {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	if !slices.Equal(body.Spec.Audiences, a.audiences) {
		a.t.Errorf("asked for the audiences %v, want %v", body.Spec.Audiences, a.audiences)
	}
	answer, ok := a.answers[body.Spec.Token]
	if !ok {
		answer = []byte(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"user":{},"error":"invalid bearer token"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(answer)
}

func (a *apiFake) say(token string, answer []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[token] = answer
}

func (a *apiFake) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// reviewed is a bench with one cluster that is asked.
func reviewed(t *testing.T, mode exchange.ReviewMode, change func(*exchange.Trust)) (*bench, *apiFake) {
	t.Helper()
	trust := prod("blue")
	trust.Review = &exchange.Review{Mode: mode, Server: apiServer, TokenFile: writeFile(t, "token", []byte("our-own-token\n"))}
	if change != nil {
		change(&trust)
	}
	b := newBench(t, trust)
	api := &apiFake{t: t, bearer: "our-own-token", audiences: trust.Audiences, answers: map[string][]byte{}}
	b.house.handle(reviews, api.ServeHTTP)
	return b, api
}

// stands is the answer of a cluster that stands by the token of account().
func stands(changes map[string]any) []byte {
	status := change(map[string]any{
		"authenticated": true, "audiences": []string{"cambio"},
		"user": map[string]any{
			"username": "system:serviceaccount:llm:gateway", "uid": "u-1",
			"extra": map[string]any{"authentication.kubernetes.io/pod-uid": []string{"p-1"}},
		},
	}, changes)
	return marshal(map[string]any{"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status})
}

// The recorded answers of a real API server to real tokens.
func TestRealReviews(t *testing.T) {
	for name, want := range map[string]string{
		"valid": "", "valid-two-audiences": "", "before-deletion": "", "deleted-pod-cached": "",
		"valid-after-rotation": "", "old-key-after-rotation": "",
		"wrong-audience": "another audience", "deleted-pod": "does not stand by the token",
		"garbage": "three parts", "bad-signature": "signature",
	} {
		t.Run(name, func(t *testing.T) {
			folder := "testdata/tokens/kubernetes"
			var request struct {
				Spec struct {
					Token     string
					Audiences []string
				}
			}
			if err := json.Unmarshal(must(os.ReadFile(filepath.Join(folder, "tokenreview", name+".request.json"))), &request); err != nil {
				t.Fatal(err)
			}
			b, api := reviewed(t, exchange.ReviewCached, func(tr *exchange.Trust) {
				tr.Audiences = request.Spec.Audiences
				tr.Keys = exchange.KeySource{File: filepath.Join(folder, "jwks-rotated.json")}
			})
			b.clock.now = time.Date(2026, 11, 21, 9, 28, 39, 0, time.UTC)
			api.say(request.Spec.Token, must(os.ReadFile(filepath.Join(folder, "tokenreview", name+".response.json"))))
			if want == "" {
				b.accepts(request.Spec.Token)
			} else {
				b.refuses(request.Spec.Token, exchange.KindInvalidSubject, want)
			}
			// What our own checks refuse does not reach the cluster (S11).
			if wantAsked := map[bool]int{true: 1}[want == "" || name == "deleted-pod"]; api.count() != wantAsked {
				t.Errorf("asked %d times, want %d", api.count(), wantAsked)
			}
		})
	}
}

func TestS11ReviewMustAgree(t *testing.T) {
	user := func(changes map[string]any) map[string]any {
		return map[string]any{"user": change(map[string]any{"username": "system:serviceaccount:llm:gateway", "uid": "u-1"}, changes)}
	}
	for name, c := range map[string]struct {
		changes map[string]any
		good    bool
	}{
		"all of it":            {nil, true},
		"no extra":             {user(nil), true},
		"one of two audiences": {map[string]any{"audiences": []string{"x", "cambio"}}, true},
		"not authenticated":    {map[string]any{"authenticated": false}, false},
		"authenticated absent": {map[string]any{"authenticated": nil}, false},
		"authenticated, but":   {map[string]any{"error": "something"}, false},
		"no audiences":         {map[string]any{"audiences": nil}, false},
		"a foreign audience":   {map[string]any{"audiences": []string{"vault"}}, false},
		"another uid":          {user(map[string]any{"uid": "u-2"}), false},
		"no uid":               {user(map[string]any{"uid": nil}), false},
		"another user":         {user(map[string]any{"username": "system:serviceaccount:llm:admin"}), false},
		"another uid of a pod": {user(map[string]any{"extra": map[string]any{"authentication.kubernetes.io/pod-uid": []string{"p-2"}}}), false},
		"nothing":              {map[string]any{"authenticated": nil, "user": nil, "audiences": nil}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, api := reviewed(t, exchange.ReviewCached, nil)
			e := newES256("e")
			b.house.serve("https://blue.test/jwks", keySetOf(e))
			raw := e.token(account(nil))
			api.say(raw, stands(c.changes))
			if c.good {
				b.accepts(raw)
				return
			}
			b.refuses(raw, exchange.KindInvalidSubject, "does not stand by the token")
		})
	}
}

// A token without the service account's uid cannot be held against the answer.
func TestS11ReviewNeedsTheUID(t *testing.T) {
	b, api := reviewed(t, exchange.ReviewCached, nil)
	e := newES256("e")
	b.house.serve("https://blue.test/jwks", keySetOf(e))
	raw := e.token(account(map[string]any{"kubernetes.io": map[string]any{"namespace": "llm", "serviceaccount": map[string]any{"name": "gateway"}}}))
	api.say(raw, stands(map[string]any{"user": map[string]any{"username": "system:serviceaccount:llm:gateway", "uid": ""}}))
	b.refuses(raw, exchange.KindInvalidSubject, "does not stand by the token")
}

func TestS11FailedReviewIsUnavailable(t *testing.T) {
	for name, fails := range map[string]func(b *bench, trust *exchange.Trust){
		"server error":   func(b *bench, _ *exchange.Trust) { b.house.fail(reviews, http.StatusInternalServerError) },
		"throttled":      func(b *bench, _ *exchange.Trust) { b.house.fail(reviews, http.StatusTooManyRequests) },
		"we are refused": func(_ *bench, tr *exchange.Trust) { _ = os.WriteFile(tr.Review.TokenFile, []byte("stale"), 0o600) },
		"no token":       func(_ *bench, tr *exchange.Trust) { _ = os.Remove(tr.Review.TokenFile) },
		"empty token":    func(_ *bench, tr *exchange.Trust) { _ = os.WriteFile(tr.Review.TokenFile, nil, 0o600) },
		"two tokens":     func(_ *bench, tr *exchange.Trust) { _ = os.WriteFile(tr.Review.TokenFile, []byte("a\nb"), 0o600) },
		"not JSON":       func(b *bench, _ *exchange.Trust) { b.house.serve(reviews, []byte("<html>")) },
		"not a review": func(b *bench, _ *exchange.Trust) {
			b.house.serve(reviews, []byte(`{"kind":"Status","apiVersion":"v1","status":"Success"}`))
		},
		"too long": func(b *bench, _ *exchange.Trust) { b.house.serve(reviews, make([]byte, 1<<20+1)) },
		"a redirect": func(b *bench, _ *exchange.Trust) {
			b.house.handle(reviews, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://evil.test/", http.StatusTemporaryRedirect)
			})
		},
		"hangs up": func(b *bench, _ *exchange.Trust) {
			b.house.handle(reviews, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		},
	} {
		for _, mode := range []exchange.ReviewMode{exchange.ReviewCached, exchange.ReviewAlways} {
			t.Run(name+", "+string(mode), func(t *testing.T) {
				var trust exchange.Trust
				b, api := reviewed(t, mode, func(tr *exchange.Trust) { trust = *tr })
				e := newES256("e")
				b.house.serve("https://blue.test/jwks", keySetOf(e))
				raw := e.token(account(nil))
				api.say(raw, stands(nil))
				b.accepts(raw)
				b.clock.advance(31 * time.Second)
				fails(b, &trust)
				b.refuses(raw, exchange.KindUnavailable, "could not be asked")
				_, err := b.verify(raw)
				wantError(t, err, exchange.KindUnavailable, "could not be asked")
				if strings.Contains(err.Error(), raw) || strings.Contains(err.Error(), "our-own-token") {
					t.Errorf("a token in an error (S39): %v", err)
				}
				if n := b.house.count("https://evil.test/"); n != 0 {
					t.Error("a redirect was followed")
				}
			})
		}
	}
}

func TestReviewIsRememberedForItsTTL(t *testing.T) {
	b, api := reviewed(t, exchange.ReviewCached, nil)
	e := newES256("e")
	b.house.serve("https://blue.test/jwks", keySetOf(e))
	raw := e.token(account(nil))
	api.say(raw, stands(nil))
	b.accepts(raw)
	b.clock.advance(29 * time.Second)
	b.accepts(raw)
	if api.count() != 1 || b.meter.reviews[subject.Remembered] != 1 {
		t.Errorf("asked %d times, counted %v", api.count(), b.meter.reviews)
	}
	b.clock.advance(time.Second)
	api.say(raw, stands(map[string]any{"authenticated": false}))
	b.refuses(raw, exchange.KindInvalidSubject, "does not stand")
	// A refusal is not remembered.
	api.say(raw, stands(nil))
	b.accepts(raw)
	if api.count() != 3 || b.meter.reviews[subject.Authenticated] != 2 || b.meter.reviews[subject.Refused] != 1 {
		t.Errorf("asked %d times, counted %v", api.count(), b.meter.reviews)
	}
	// Another token of the same account is another question.
	b.refuses(e.token(account(map[string]any{"jti": "k-2"})), exchange.KindInvalidSubject, "does not stand")
}

func TestS11ReviewAlwaysAsksEachTime(t *testing.T) {
	b, api := reviewed(t, exchange.ReviewAlways, nil)
	e := newES256("e")
	b.house.serve("https://blue.test/jwks", keySetOf(e))
	raw := e.token(account(nil))
	api.say(raw, stands(nil))
	for range 3 {
		b.accepts(raw)
	}
	if api.count() != 3 || b.meter.hitCount() != 0 {
		t.Errorf("asked %d times, %d hits", api.count(), b.meter.hitCount())
	}
	api.say(raw, stands(map[string]any{"authenticated": false}))
	b.refuses(raw, exchange.KindInvalidSubject, "does not stand")
}

// TokenReview forgives a minute of expiry; we do not, and do not even ask.
func TestS11ExpiryIsCheckedHere(t *testing.T) {
	b, api := reviewed(t, exchange.ReviewAlways, nil)
	e := newES256("e")
	b.house.serve("https://blue.test/jwks", keySetOf(e))
	raw := e.token(account(map[string]any{"exp": noon.Add(time.Second).Unix()}))
	api.say(raw, stands(nil))
	b.accepts(raw)
	b.clock.advance(2 * time.Second)
	b.refuses(raw, exchange.KindInvalidSubject, "expired")
	if api.count() != 1 {
		t.Errorf("asked %d times", api.count())
	}
}

// Callers with one token ask once, and none is failed by another's hanging up.
func TestReviewIsASingleFlight(t *testing.T) {
	b, api := reviewed(t, exchange.ReviewCached, nil)
	e := newES256("e")
	b.house.serve("https://blue.test/jwks", keySetOf(e))
	raw := e.token(account(nil))
	api.say(raw, stands(nil))
	arrived, gate := make(chan struct{}, 8), make(chan struct{})
	b.house.handle(reviews, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-gate
		api.ServeHTTP(w, r)
	})
	ctx, hangUp := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := b.Verify(ctx, exchange.Token{Value: exchange.NewSecret(raw)}, noon)
		first <- err
	}()
	<-arrived
	others := make(chan error, 50)
	for range cap(others) {
		go func() {
			_, err := b.verify(raw)
			others <- err
		}()
	}
	hangUp()
	wantError(t, <-first, exchange.KindUnavailable, "could not be asked")
	close(gate)
	for range cap(others) {
		if err := <-others; err != nil {
			t.Error(err)
		}
	}
	if api.count() != 1 {
		t.Errorf("asked %d times", api.count())
	}
}

func TestReviewNeverDoesNotAsk(t *testing.T) {
	b, api := reviewed(t, exchange.ReviewNever, nil)
	e := newES256("e")
	b.house.serve("https://blue.test/jwks", keySetOf(e))
	b.accepts(e.token(account(nil)))
	if api.count() != 0 {
		t.Errorf("asked %d times", api.count())
	}
}

// A cluster's discovery answers the authenticated only: our token goes to the API
// server itself, and nowhere else.
func TestDiscoveryAtTheAPIServerIsAuthorized(t *testing.T) {
	var seen sync.Map
	guarded := func(b *bench, address string, body []byte) {
		b.house.handle(address, func(w http.ResponseWriter, r *http.Request) {
			seen.Store(r.Host+r.URL.Path, r.Header.Get("Authorization"))
			_, _ = w.Write(body)
		})
	}
	b, _ := reviewed(t, exchange.ReviewNever, func(tr *exchange.Trust) { tr.Issuer, tr.Keys = apiServer, exchange.KeySource{} })
	e := newES256("e")
	guarded(b, apiServer+"/.well-known/openid-configuration", marshal(map[string]string{"issuer": apiServer, "jwks_uri": "https://public.test/jwks"}))
	guarded(b, "https://public.test/jwks", keySetOf(e))
	b.accepts(e.token(account(map[string]any{"iss": apiServer})))
	for address, want := range map[string]string{
		"api.blue.test:6443/.well-known/openid-configuration": "Bearer our-own-token", "public.test/jwks": "",
	} {
		if got, _ := seen.Load(address); got != want {
			t.Errorf("%s saw %q, want %q", address, got, want)
		}
	}
}

// An API server advertises its keys under the address of a node; they are read
// from the server itself, with our token.
func TestAdvertisedKeysAreReadFromTheAPIServer(t *testing.T) {
	b, _ := reviewed(t, exchange.ReviewNever, func(tr *exchange.Trust) { tr.Issuer, tr.Keys = apiServer, exchange.KeySource{} })
	e := newES256("e")
	b.house.serve(apiServer+"/.well-known/openid-configuration", marshal(map[string]string{"issuer": apiServer, "jwks_uri": "https://10.0.0.7:6443/openid/v1/jwks"}))
	b.house.handle(apiServer+"/openid/v1/jwks", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer our-own-token" {
			_, _ = w.Write(keySetOf(e))
		}
	})
	b.accepts(e.token(account(map[string]any{"iss": apiServer})))
	if n := b.house.count("https://10.0.0.7:6443/openid/v1/jwks"); n != 0 {
		t.Errorf("the advertised address was asked %d times", n)
	}
}

// In a cluster all three of address, roots and token have their usual place.
func TestReviewInClusterDefaults(t *testing.T) {
	trust := prod("blue")
	trust.Review = &exchange.Review{Mode: exchange.ReviewCached}
	h := newHouse(t)
	var files []string
	v := subject.New(subject.Options{Now: func() time.Time { return noon }, Client: func(caFile string) (*http.Client, error) {
		files = append(files, caFile)
		return h.client(caFile)
	}})
	if err := v.Load([]exchange.Trust{trust}); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(files, "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt") {
		t.Errorf("roots from %q", files)
	}
	e := newES256("e")
	h.serve("https://blue.test/jwks", keySetOf(e))
	_, err := v.Verify(t.Context(), exchange.Token{Value: exchange.NewSecret(e.token(account(nil)))}, noon)
	wantError(t, err, exchange.KindUnavailable, "could not be asked")
	if !strings.Contains(err.Error(), "/var/run/secrets/kubernetes.io/serviceaccount/token") {
		t.Errorf("error %v", err)
	}
}
