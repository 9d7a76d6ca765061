package main

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/cmd/cambio/config"
	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/governor"
	"github.com/cambio-sts/cambio/exchange/issuer"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/exchange/outbound"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/all"
	"github.com/cambio-sts/cambio/exchange/signing"
	"github.com/cambio-sts/cambio/exchange/subject"
	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/server/api"
	"github.com/cambio-sts/cambio/server/oauth"
	"github.com/cambio-sts/cambio/store"
)

// house is everything, put together: the one place where all rooms meet.
type house struct {
	config *config.Config
	log    *slog.Logger
	meters *meters
	now    func() time.Time

	store    store.Store
	issuer   *issuer.Issuer
	verifier *subject.Verifier
	clients  *subject.Verifier // of clients' own assertions
	policies *policy.Set
	watch    policy.WatchOptions
	ledger   *ledger.Ledger
	reaper   *lease.Reaper
	desk     *lease.Desk
	self     *subject.Self // tokens of ours
	vendor   *provider.Vendor
	register *lease.Register
	sessions *signing.Desk
	oauth    *oauth.Handler
	api      *api.Server
	tracing  *tracing

	stopping atomic.Bool        // no longer ready
	stop     context.CancelFunc // of the background work
	work     sync.WaitGroup
}

// blueprint is what a house is built from.
type blueprint struct {
	config  *config.Config
	sealKey []byte
	oldKeys [][]byte    // which open what they sealed
	store   store.Store // the house closes it
	log     *slog.Logger
	now     func() time.Time // nil: time.Now
	// check refuses trusts that the policy may not have, beyond what the verifier
	// refuses. Optional.
	check func([]exchange.Trust) []error
}

// newHouse opens every room and loads the policy; it starts nothing that works by
// itself. On an error it has closed what it opened, the store among it.
func newHouse(ctx context.Context, b blueprint) (_ *house, err error) {
	tuneMemory()
	h := &house{config: b.config, log: b.log, store: b.store, meters: newMeters(b.log), now: b.now}
	if h.now == nil {
		h.now = time.Now
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close(context.WithoutCancel(ctx)))
		}
	}()
	sealer, err := exchange.NewSealer(rand.Reader, b.sealKey, b.oldKeys...)
	if err != nil {
		return nil, fmt.Errorf("seal.key: %w", err)
	}
	h.issuer, err = issuer.Open(ctx, issuer.Options{
		URL: b.config.Issuer, Keys: b.store, Sealer: sealer, Now: h.now, Random: rand.Reader,
		AccessAlgorithm: b.config.Keys.Access, FederationAlgorithm: b.config.Keys.Federation,
		Rotate: b.config.Keys.Rotate, StandIns: b.config.Outbound.StandIns, Report: h.meters.fault("keys"),
	})
	if err != nil {
		return nil, fmt.Errorf("opening the issuer: %w", err)
	}
	if err := h.openPolicy(ctx, b.check); err != nil {
		return nil, err
	}
	h.ledger = ledger.New(ledger.Options{Log: b.store, Now: h.now, Meter: h.meters})
	h.meters.depth(h.ledger.Depth)
	if s, ok := b.store.(interface{ StrayRows() int64 }); ok { // where months are partitions
		h.meters.stray(s.StrayRows)
	}
	bureau, err := h.openBureau(sealer)
	if err != nil {
		return nil, err
	}
	if h.tracing, err = newTracing(ctx, b.config.Trace.OTLP); err != nil {
		return nil, err
	}
	return h, h.openDoors(bureau, sealer, b.sealKey)
}

// openPolicy loads the policy folder and puts it in force. A policy that is at
// fault at the start keeps the server from starting.
func (h *house) openPolicy(ctx context.Context, check func([]exchange.Trust) []error) error {
	c := h.config
	h.verifier = subject.New(subject.Options{
		Client: func(caFile string) (*http.Client, error) { return outbound.Client(h.outbound(caFile)) },
		Now:    h.now, OwnIssuers: h.issuer.Names(), Issuer: h.issuer.URL(), Meter: verifierMeter{h.meters},
		Secret: func(reference, host string) (exchange.Secret, error) {
			return h.targetSecret(provider.SecretRef(reference), host)
		},
	})
	h.openClients()
	checks := h.verifier.Check
	if check != nil {
		checks = func(trusts []exchange.Trust) []error { return append(h.verifier.Check(trusts), check(trusts)...) }
	}
	h.policies = policy.NewSet(policy.SetOptions{
		State: h.store, Now: h.now, Random: rand.Reader, OnError: h.meters.fault("policy state"),
		OnActivate: h.loadVerifiers,
	})
	h.watch = policy.WatchOptions{
		FS: os.DirFS(c.Policy.Dir), Set: h.policies, Every: c.Policy.Reload,
		Load: policy.Options{
			Providers: all.Registry(), SecretNames: c.TargetSecrets(), CheckTrusts: checks, Dir: c.Policy.Dir,
		},
		OnLoad: func(r *policy.Revision) {
			h.meters.loaded(r.Hash())
			h.log.Info("a changed policy is in force", "revision", r.Hash())
		},
		OnFault: func(err error) {
			h.meters.faulty()
			h.log.Error("the changed policy is not taken; the old one stays", "faults", err.Error())
		},
		OnMended: func() {
			h.meters.mended()
			h.log.Info("the policy folder holds what is in force again")
		},
		OnDelay: h.meters.fault("policy change"),
	}
	revision, err := policy.Load(h.watch.FS, h.watch.Load)
	if err != nil {
		return fmt.Errorf("the policy in %s is at fault:\n%w", c.Policy.Dir, err)
	}
	if err := h.policies.Activate(ctx, revision); err != nil {
		return fmt.Errorf("putting the policy in force: %w", err)
	}
	h.meters.loaded(revision.Hash())
	h.log.Info("the policy is in force", "revision", revision.Hash(), "dir", c.Policy.Dir)
	return nil
}

// openBureau joins verifier, policy, governor, vendor and ledger into the
// pipeline.
func (h *house) openBureau(sealer *exchange.Sealer) (*exchange.Bureau, error) {
	client, err := outbound.Client(h.outbound(""))
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	var vendor *provider.Vendor
	h.sessions = h.openSessions(sealer, func(ctx context.Context, tenant, target string, snapshot exchange.Secret, r exchange.SignRequest) (map[string]string, error) {
		return vendor.Sign(ctx, tenant, target, snapshot, r)
	})
	vendor = provider.NewVendor(provider.VendorOptions{
		Deps: provider.Deps{
			HTTP: client, Client: h.certified, Asserter: h.issuer, Minter: h.issuer, Granter: h.issuer, Sessions: h.sessions, Secret: h.targetSecret, Now: h.now, Random: rand.Reader,
		},
		Target: func(tenant, name string) (*exchange.Target, bool) {
			r := h.policies.Revision()
			if r == nil || r.Tenant() != tenant {
				return nil, false
			}
			target := r.Target(name)
			return target, target != nil
		},
		Meter:   h.meters,
		Timeout: h.config.Limits.Timeout * 4 / 5, // what remains is for the records before and after
		Gate:    governor.NewGate(governor.GateOptions{Now: h.now, NotCalled: provider.ErrNotCalled}),
	})
	h.vendor = vendor
	h.reaper = lease.NewReaper(lease.ReaperOptions{
		Intents: h.store, Expiries: h.store, Ledger: h.ledger, Recover: vendor.Recover, Now: h.now, Random: rand.Reader, Meter: h.meters,
	})
	limits := governor.New(governor.Options{PerSubject: h.config.Limits.SubjectPerSecond, Now: h.now})
	h.desk = lease.NewDesk(lease.DeskOptions{
		Denies: h.store, Book: h.store, Revoke: vendor.Revoke, Sealer: sealer, Now: h.now, Random: rand.Reader,
		Changed: h.refresh, Policy: h.policies, Renew: vendor.Renew, CanRenew: vendor.CanRenew, Governor: limits,
		Standing: func(ctx context.Context, tenant string, id exchange.ID) (lease.Outstanding, error) {
			return h.register.Standing(ctx, tenant, id)
		},
	})
	return &exchange.Bureau{
		Policy: h.policies, Verifier: h.verifier, Own: h.openOwn(sealer), Passthrough: h.verifier, Vendor: vendor, Ledger: h.ledger, Observer: h.meters, Sealer: sealer,
		Governor: limits,
		Now:      h.now, Random: rand.Reader, Timeout: h.config.Limits.Timeout,
	}, nil
}

func (h *house) openDoors(bureau *exchange.Bureau, sealer *exchange.Sealer, sealKey []byte) error {
	clients := h.authenticator()
	refused := func(k exchange.Kind) { h.meters.refused.WithLabelValues(k.String()).Inc() }
	h.oauth = oauth.New(oauth.Options{
		Issuer: h.config.Issuer, Exchanger: bureau, Clients: clients, Keys: h.issuer, Logger: h.log, Now: h.now,
		MaxBytes: h.config.Limits.RequestBytes, Timeout: h.config.Limits.Timeout,
		Refused: refused, Own: h.ownTokens(),
	})
	pageKey, err := hkdf.Key(sha256.New, sealKey, nil, "cambio page tokens v1", 32)
	if err != nil {
		return fmt.Errorf("deriving the key of page tokens: %w", err)
	}
	h.api, err = api.New(api.Options{
		Exchanger: bureau, Log: h.store, Desk: h.desk, Leases: h.desk, Signer: h.sessions, Audit: h.store, Fingerprint: sealer.Fingerprint,
		Clients: clients, Verifier: h.verifier, Note: h.ledger.Note, PageKey: pageKey,
		Roles: func(s exchange.Subject) []string {
			if r := h.policies.Revision(); r != nil {
				return r.Roles(s)
			}
			return nil
		},
		Now: h.now, Random: rand.Reader, Trusted: h.config.TrustedProxies,
		RequestBytes: int(h.config.Limits.RequestBytes), Timeout: h.config.Limits.Timeout, Logger: h.log,
		Refused: refused,
	})
	if err != nil {
		return fmt.Errorf("opening the API: %w", err)
	}
	return nil
}

// refresh reads the emergency denies anew. Where it fails, the next poll does.
func (h *house) refresh(ctx context.Context) {
	if err := h.policies.Refresh(ctx); err != nil && ctx.Err() == nil {
		h.meters.fault("policy state")(err)
	}
}

// outbound turns outbound of cambio.yaml into the rules of a client. Loopback is
// open only where it is named (S24).
func (h *house) outbound(caFile string) outbound.Options {
	o := outbound.Options{CAFile: caFile, Timeout: h.config.Limits.Timeout}
	if caFile == "" && h.config.Outbound.CAFile != "" {
		o.CAFile, o.SystemRoots = h.config.Outbound.CAFile, true
	}
	for _, allowed := range h.config.Outbound.Allow {
		if p, err := netip.ParsePrefix(allowed); err == nil {
			o.AllowAddresses = append(o.AllowAddresses, p)
			o.AllowLoopback = o.AllowLoopback || p.Addr().IsLoopback()
			continue
		}
		o.Allow = append(o.Allow, allowed)
		o.AllowLoopback = o.AllowLoopback || exchange.LoopbackHost(allowed)
	}
	return o
}

// handler is every door on one port, behind the entry.
func (h *house) handler() http.Handler {
	base := ""
	if u, err := url.Parse(h.config.Issuer); err == nil {
		base = strings.TrimSuffix(u.Path, "/")
	}
	paths := h.oauth.Paths()
	rest := h.api.REST()
	doors := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, below := strings.CutPrefix(r.URL.Path, base)
		switch {
		case slices.Contains(paths, r.URL.Path):
			h.oauth.ServeHTTP(w, r)
		case below && base != "" && isAPI(path):
			http.StripPrefix(base, rest).ServeHTTP(w, r)
		case isAPI(r.URL.Path):
			rest.ServeHTTP(w, r)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"error":"invalid_request","error_description":"there is nothing at this path; /.well-known/oauth-authorization-server says what there is"}` + "\n"))
		}
	})
	return h.enter(doors)
}

func isAPI(path string) bool { return strings.HasPrefix(path, "/v1/") || path == "/openapi.json" }

// grpc is the gRPC door, behind the same entry.
func (h *house) grpc() http.Handler { return h.enter(h.api.GRPC()) }

func (h *house) enter(next http.Handler) http.Handler {
	return h.tracing.wrap(server.Entry(next, server.EntryOptions{
		TrustedProxies: h.config.TrustedProxies, Logger: h.log, Now: h.now,
	}))
}

// ops is the second port.
func (h *house) ops() http.Handler {
	return server.Ops(h.meters.handler(), []server.Check{
		{Name: "serving", Ready: func(context.Context) error {
			if h.stopping.Load() {
				return errors.New("stopping")
			}
			return nil
		}},
		{Name: "store", Ready: h.store.Ping},
		{Name: "policy", Ready: func(context.Context) error { return h.policies.Status() }},
		{Name: "keys", Ready: func(context.Context) error { return h.issuer.Ready() }},
	})
}

// start sets going what works by itself: key fetches and rotation, the policy
// watch, the reaper, the counts.
func (h *house) start() {
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.work.Go(func() { h.verifier.Run(ctx) })
	h.work.Go(func() { h.clients.Run(ctx) })
	h.work.Go(func() { h.issuer.Run(ctx) })
	h.work.Go(func() { h.reaper.Run(ctx) })
	h.work.Go(func() { h.runSessions(ctx) })
	h.work.Go(func() { h.runTargets(ctx) })
	h.work.Go(func() {
		tick := time.NewTicker(ledger.RollEvery)
		defer tick.Stop()
		ledger.KeepCounts(ctx, h.store, tick.C, h.meters.fault("summaries"))
	})
	h.work.Go(func() { _ = h.policies.Run(ctx) }) // nil, when ctx ends
	if tells, ok := h.store.(interface {
		ListenDenies(ctx context.Context, heard func())
	}); ok { // other replicas share this store
		h.work.Go(func() { tells.ListenDenies(ctx, func() { h.refresh(ctx) }) })
	}
	h.work.Go(func() {
		if err := policy.Watch(ctx, h.watch); err != nil {
			h.meters.fault("policy watch")(err)
		}
	})
}

// rest waits for the background work to end.
func (h *house) rest(ctx context.Context) error {
	done := make(chan struct{})
	go func() { h.work.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping: background work did not end in time: %w", ctx.Err())
	}
}

// close ends everything in the order in which one needs the other: the doors have
// drained before, then the background, then the ledger, and the store last.
func (h *house) close(ctx context.Context) error {
	var errs []error
	if h.api != nil {
		h.api.Close()
	}
	if h.stop != nil {
		h.stop()
		errs = append(errs, h.rest(ctx))
	}
	if h.ledger != nil {
		errs = append(errs, h.ledger.Close(ctx))
	}
	errs = append(errs, h.tracing.close(ctx), h.store.Close())
	return errors.Join(errs...)
}
