package subject

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

const (
	reviewPath      = "/apis/authentication.k8s.io/v1/tokenreviews"
	clusterKeysPath = "/openid/v1/jwks"
	reviewDeadline  = 5 * time.Second
	reviewTTL       = 30 * time.Second
	reviewsKept     = 8192
	reviewsAtOnce   = 64 // outstanding at one API server; more callers wait

	inClusterServer = "https://kubernetes.default.svc"
	inClusterCA     = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
	inClusterToken  = "/var/run/secrets/kubernetes.io/serviceaccount/token"
)

// apiServer is a cluster's API server and our credentials there.
type apiServer struct {
	server    *url.URL
	origins   []string
	tokenFile string
	fetcher   *fetcher
}

func newAPIServer(r exchange.Review, client func(string) (*http.Client, error)) (*apiServer, error) {
	a := &apiServer{tokenFile: r.TokenFile, fetcher: &fetcher{factory: client, caFile: r.CAFile}}
	address := r.Server
	if address == "" {
		address = inClusterServer
		a.origins = []string{inClusterServer + ".cluster.local:443"}
		if r.CAFile == "" {
			a.fetcher.caFile = inClusterCA
		}
	}
	if a.tokenFile == "" {
		a.tokenFile = inClusterToken
	}
	var err error
	if a.server, err = url.Parse(address); err != nil {
		return nil, errors.New("review.server is not a URL")
	}
	a.origins = append(a.origins, origin(a.server))
	if r.Mode != exchange.ReviewNever {
		if _, err := a.fetcher.open(); err != nil {
			return nil, fmt.Errorf("review: %w", err)
		}
	}
	return a, nil
}

// serves reports whether an address is this API server's, so that its discovery
// may be asked with our token: clusters answer it to the authenticated only.
func (a *apiServer) serves(address string) bool {
	u, err := url.Parse(address)
	return err == nil && slices.Contains(a.origins, origin(u))
}

// ownKeys puts the API server's own name in place of the one by which it advertises
// its keys, often an address of a node: our token goes nowhere but to the server
// that policy names.
func (a *apiServer) ownKeys(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Path != clusterKeysPath {
		return address
	}
	return a.server.JoinPath(clusterKeysPath).String()
}

func (a *apiServer) authorize(r *http.Request) error {
	bearer, err := readBearer(a.tokenFile)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+bearer)
	return nil
}

// reviewer asks a cluster whether a token still stands (TokenReview of
// authentication.k8s.io/v1). It is asked after the signature has verified, so
// that only tokens of the cluster's own making reach it; and it does not replace
// our own checks, for it forgives a minute of expiry (S11).
type reviewer struct {
	tenant, trust string
	mode          exchange.ReviewMode
	audiences     []string
	ttl           time.Duration
	api           *apiServer
	now           func() time.Time
	meter         Meter
	good          *memory[time.Time] // token → until when the answer holds
	slots         chan struct{}

	mu      sync.Mutex
	flights map[[sha256.Size]byte]*reviewFlight
}

type reviewFlight struct {
	done chan struct{}
	err  error
}

func newReviewer(t exchange.Trust, api *apiServer, now func() time.Time, meter Meter) *reviewer {
	r := &reviewer{
		tenant: t.Tenant, trust: t.Name, mode: t.Review.Mode, audiences: t.Audiences, ttl: t.Review.TTL,
		api: api, now: now, meter: meter, good: newMemory[time.Time](reviewsKept),
		slots: make(chan struct{}, reviewsAtOnce), flights: map[[sha256.Size]byte]*reviewFlight{},
	}
	if r.ttl == 0 {
		r.ttl = reviewTTL
	}
	return r
}

// check returns nil when the cluster stands by the token.
func (r *reviewer) check(ctx context.Context, raw string, s *exchange.Subject) error {
	if r.mode == exchange.ReviewAlways {
		ctx, cancel := context.WithTimeout(ctx, reviewDeadline)
		defer cancel()
		return r.ask(ctx, raw, s)
	}
	if until, ok := r.good.get(s.Fingerprint); ok && r.now().Before(until) {
		r.meter.Reviewed(r.tenant, r.trust, Remembered)
		return nil
	}
	f := r.join(raw, s)
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return unreviewed(ctx.Err())
	}
}

// join asks once for everybody who waits on the same token, under a deadline that
// is nobody's own.
func (r *reviewer) join(raw string, s *exchange.Subject) *reviewFlight {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flights[s.Fingerprint]; f != nil {
		return f
	}
	f := &reviewFlight{done: make(chan struct{})}
	r.flights[s.Fingerprint] = f
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), reviewDeadline)
		defer cancel()
		asked := r.now()
		f.err = r.ask(ctx, raw, s)
		if f.err == nil {
			r.good.put(s.Fingerprint, asked.Add(r.ttl))
		} else {
			r.good.drop(s.Fingerprint)
		}
		r.mu.Lock()
		delete(r.flights, s.Fingerprint)
		r.mu.Unlock()
		close(f.done)
	}()
	return f
}

func unreviewed(cause error) error {
	return exchange.Fault(exchange.KindUnavailable, "the token's cluster could not be asked whether the token still stands; try again", cause)
}

// ask performs one review and counts it.
func (r *reviewer) ask(ctx context.Context, raw string, s *exchange.Subject) error {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		r.meter.Reviewed(r.tenant, r.trust, Failed)
		return unreviewed(fmt.Errorf("waiting for other reviews: %w", ctx.Err()))
	}
	answer, err := r.post(ctx, raw)
	if err != nil {
		r.meter.Reviewed(r.tenant, r.trust, Failed)
		return unreviewed(fmt.Errorf("TokenReview for trust %q: %w", r.trust, err))
	}
	if why := answer.refusal(r.audiences, s); why != "" {
		r.meter.Reviewed(r.tenant, r.trust, Refused)
		return exchange.Fault(exchange.KindInvalidSubject, "the token's cluster does not stand by the token (any more): get a fresh one", errors.New(why))
	}
	r.meter.Reviewed(r.tenant, r.trust, Authenticated)
	return nil
}

// tokenReview is the part of the resource that we write and read.
type tokenReview struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Spec       reviewSpec   `json:"spec"`
	Status     reviewStatus `json:"status,omitzero"`
}

type reviewSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences"`
}

type reviewStatus struct {
	Authenticated bool       `json:"authenticated"`
	User          reviewUser `json:"user"`
	Audiences     []string   `json:"audiences"`
	Error         string     `json:"error"`
}

type reviewUser struct {
	Username string              `json:"username"`
	UID      string              `json:"uid"`
	Extra    map[string][]string `json:"extra"`
}

// post asks. Anything but a review in the answer is a failure, not a refusal: a
// 401 or 403 is about our own token.
func (r *reviewer) post(ctx context.Context, raw string) (reviewStatus, error) {
	body, err := json.Marshal(tokenReview{
		APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview",
		Spec: reviewSpec{Token: raw, Audiences: r.audiences},
	})
	if err != nil {
		return reviewStatus{}, err
	}
	address := r.api.server.JoinPath(reviewPath).String()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return reviewStatus{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	if err := r.api.authorize(request); err != nil {
		return reviewStatus{}, err
	}
	status, answer, err := r.api.fetcher.send(request)
	if err != nil {
		return reviewStatus{}, err
	}
	if status != http.StatusCreated && status != http.StatusOK {
		return reviewStatus{}, fmt.Errorf("status %d", status)
	}
	var review tokenReview
	if err := json.Unmarshal(answer, &review); err != nil {
		return reviewStatus{}, fmt.Errorf("reading the answer: %w", err)
	}
	if review.Kind != "TokenReview" || review.APIVersion != "authentication.k8s.io/v1" {
		return reviewStatus{}, errors.New("reading the answer: it is not a TokenReview")
	}
	return review.Status, nil
}

// refusal says why the answer is no; empty: it is yes. A server that knows nothing
// of audiences leaves them out, which means that it checked none: no.
func (a reviewStatus) refusal(audiences []string, s *exchange.Subject) string {
	uid := s.Attributes["uid"]
	switch {
	case !a.Authenticated || a.Error != "":
		return "the API server says: " + clip(a.Error)
	case !slices.ContainsFunc(a.Audiences, func(x string) bool { return slices.Contains(audiences, x) }):
		return "the API server confirms none of the trust's audiences"
	case a.User.Username != s.ID:
		return "the API server takes the token for somebody else's"
	case len(uid) != 1 || a.User.UID != uid[0]:
		return "the API server knows the service account under another uid"
	}
	if pod := s.Attributes["pod_uid"]; len(pod) == 1 {
		if confirmed := a.User.Extra["authentication.kubernetes.io/pod-uid"]; len(confirmed) > 0 && confirmed[0] != pod[0] {
			return "the API server knows the pod under another uid"
		}
	}
	return ""
}
