package main

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/anthropic/anthropicsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

const (
	standInRule         = "fdrl_01BENCH"
	standInOrganization = "11111111-2222-4333-8444-555555555555"
	standInAudience     = "https://provider.bench.example"
)

// standIn is a provider over TLS, in this process: it verifies each assertion as the
// real one does.
type standIn struct {
	*anthropicsandbox.Server
	web   *httptest.Server
	under atomic.Int64 // calls under way
	most  atomic.Int64
	// bears is how many calls it takes in each second; zero: any number.
	bears  atomic.Int64
	second atomic.Int64
	taken  atomic.Int64
	over   atomic.Int64 // calls that were too many
}

// newStandIn starts it; issuer is where the server will be.
func newStandIn(issuer string) *standIn {
	s := &standIn{}
	s.Server = anthropicsandbox.New(sandbox.World{
		Issuer: issuer + "/federation", Now: time.Now, Random: rand.Reader,
		Keys: func() []byte { return get(issuer + "/federation/jwks") },
	}, anthropicsandbox.Rule{
		ID: standInRule, OrganizationID: standInOrganization, ServiceAccountID: "svac_01BENCH", Audience: standInAudience, SubjectPrefix: "default:bench",
	})
	s.web = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	return s
}

func (s *standIn) serve(w http.ResponseWriter, r *http.Request) {
	now := s.under.Add(1)
	defer s.under.Add(-1)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
	}
	if bears := s.bears.Load(); bears > 0 {
		if second := time.Now().Unix(); s.second.Swap(second) != second {
			s.taken.Store(0)
		}
		if s.taken.Add(1) > bears {
			s.over.Add(1)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = io.WriteString(w, `{"error":"rate_limit_error"}`)
			return
		}
	}
	s.ServeHTTP(w, r)
}

// get reads a small page; nil where it cannot.
func get(url string) []byte {
	resp, err := http.Get(url)
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil
	}
	return text
}

// policy lets the benchmark's service accounts have credentials of the stand-in.
func (s *standIn) policy(jwks string) string {
	return fmt.Sprintf(`trusts:
  prod: {kubernetes: {issuer: %s, audiences: [cambio], clientless: true, keys: {file: %s}}}
targets:
  bench: {anthropic: {federation_rule_id: %s, organization_id: %s, endpoint: "%s", audience: "%s"}}
allow:
  - {name: bench, subjects: [{trust: prod, namespace: llm}], targets: [bench], max_ttl: 15m}
`, clusterIssuer, jwks, standInRule, standInOrganization, s.web.URL, standInAudience)
}

// providers is a server on PostgreSQL with one provider beside it.
type providers struct {
	host    *host
	server  *cambio
	standIn *standIn
	tokens  []string // each of another service account
	next    int
}

// openProviders starts both, with tokens of so many service accounts.
func openProviders(ctx context.Context, accounts int) (_ *providers, err error) {
	p := &providers{host: &host{ctx: ctx}}
	defer func() {
		if err != nil {
			p.host.close()
		}
	}()
	dir, err := os.MkdirTemp("", "cambio-bench")
	if err != nil {
		return nil, err
	}
	p.host.Cleanup(func() { _ = os.RemoveAll(dir) })
	say("building cambio")
	binary, err := buildCambio(dir)
	if err != nil {
		return nil, err
	}
	say("starting PostgreSQL")
	var database *pgtest.Database
	if err := try(func() { database = pgtest.Start(p.host, pgtest.Durable()).NewDatabase(p.host) }); err != nil {
		return nil, err
	}
	if err := postgres.Migrate(ctx, database.OwnerDSN(), postgres.MigrateOptions{ServiceRole: pgtest.ServiceRole}); err != nil {
		return nil, err
	}
	say("signing %d subject tokens", accounts)
	c, err := newCluster()
	if err != nil {
		return nil, err
	}
	if p.tokens, err = c.mint(accounts, accounts); err != nil {
		return nil, err
	}
	jwks, err := c.writeJWKS(dir)
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p.standIn = newStandIn("http://" + address)
	p.host.Cleanup(func() {
		p.standIn.web.CloseClientConnections()
		p.standIn.web.Close()
	})
	ca := filepath.Join(dir, "ca.pem")
	for file, text := range map[string]string{
		ca: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.standIn.web.Certificate().Raw})),
		filepath.Join(dir, "policy", "bench.yaml"): p.standIn.policy(jwks),
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	say("starting cambio")
	p.server, err = startCambioAt(ctx, address, binary, dir, database.ServiceDSN(), fmt.Sprintf("outbound: {ca_file: %s, allow: [127.0.0.1]}\n", ca))
	if err != nil {
		return nil, err
	}
	p.host.Cleanup(p.server.stop)
	return p, nil
}

// fresh are the tokens of n service accounts that were not here before.
func (p *providers) fresh(n int) []string {
	p.next += n
	return p.tokens[p.next-n : p.next]
}
