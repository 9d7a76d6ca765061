package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// Exchanger is the pipeline; *exchange.Bureau is one.
type Exchanger interface {
	Exchange(ctx context.Context, r exchange.Request) (exchange.Receipt, error)
}

// Log is what the audit reads; every ledger.Log is one.
type Log interface {
	List(ctx context.Context, q ledger.Query) ([]ledger.Exchange, ledger.Cursor, error)
	Get(ctx context.Context, tenant string, id exchange.ID) ([]ledger.Exchange, error)
}

// Audit is what tails and summaries read.
type Audit interface {
	Tail(ctx context.Context, q ledger.TailQuery) (rows []ledger.Exchange, next ledger.Place, more bool, err error)
	After(ctx context.Context, tenant string, id exchange.ID) (ledger.Place, error)
	Summarize(ctx context.Context, q ledger.SummaryQuery) (ledger.Summary, error)
	Deeds(ctx context.Context, q ledger.DeedQuery) ([]ledger.Exchange, ledger.Cursor, error)
}

// Options are what New needs. Members without a default are required.
type Options struct {
	Exchanger Exchanger
	Log       Log
	// Audit is followed and counted; every ledger.Audit is one.
	Audit Audit
	// Fingerprint names a credential as the ledger does: exchange.Sealer's.
	Fingerprint func(exchange.Secret) string
	// Desk is where operators stop things.
	Desk Desk
	// Clients proves registered clients; nil: none is registered.
	Clients server.Clients
	// Leases is where owners and operators look after what is out.
	Leases Leases
	// Signer signs in sessions that are held; nil: none are.
	Signer Signer
	// Verifier proves the bearer tokens of auditors and operators.
	Verifier exchange.Verifier
	// Roles gives the roles that the policy of this moment grants a subject.
	Roles func(exchange.Subject) []string
	// Note makes an event durable: an auditor's query is one, and without it no
	// result leaves.
	Note func(ctx context.Context, e exchange.Event) error
	// PageKey authenticates page tokens: at least 32 secret bytes, the same on
	// every replica and after a restart, or paging breaks there.
	PageKey []byte

	Now          func() time.Time
	Random       io.Reader      // safe for concurrent use; nil: crypto/rand
	Trusted      []netip.Prefix // proxies whose X-Forwarded-For counts (S19)
	RequestBytes int            // greatest request; zero: 64 KiB
	TailEvery    time.Duration  // how often a tail looks; zero: 1 s
	TailBeat     time.Duration  // how often it says that there is nothing; zero: 15 s
	TailPatience time.Duration  // how long a caller may take nothing of it; zero: 30 s
	// Timeout is what one exchange has for its steps, as the exchanger itself keeps
	// it: calls are held open long enough for it. Zero: exchange.DefaultTimeout.
	Timeout time.Duration
	Logger  *slog.Logger // nil: slog.Default
	// Refused counts exchanges that were refused before they began: nobody else sees
	// them (S32). nil: nobody counts.
	Refused func(exchange.Kind)
}

// defaultRequestBytes is the greatest request where Options say nothing.
const defaultRequestBytes = 64 << 10

// minPageKey is the least PageKey, in bytes.
const minPageKey = 32

// Server holds both faces of the API.
type Server struct {
	o       Options
	pages   pageTokens
	grpc    *grpc.Server
	rest    http.Handler
	inside  *grpc.ClientConn // the gateway's way to the gRPC server
	calls   sync.Map         // uint64 → context.Context: REST calls on that way
	serial  atomic.Uint64
	serving sync.WaitGroup

	tails    chan struct{} // one for each tail that may be open
	ending   context.Context
	endTails context.CancelFunc
}

// New makes the API and starts its in-process part; Close ends it.
func New(o Options) (*Server, error) {
	switch {
	case o.Exchanger == nil, o.Log == nil, o.Desk == nil, o.Leases == nil, o.Verifier == nil, o.Roles == nil, o.Note == nil, o.Now == nil:
		return nil, errors.New("the API needs an Exchanger, a Log, a Desk, Leases, a Verifier, Roles, Note and Now")
	case o.Audit == nil, o.Fingerprint == nil:
		return nil, errors.New("the API needs an Audit and a Fingerprint")
	case len(o.PageKey) < minPageKey:
		return nil, fmt.Errorf("the API's page key has %d bytes: it needs %d", len(o.PageKey), minPageKey)
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.RequestBytes == 0 {
		o.RequestBytes = defaultRequestBytes
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Refused == nil {
		o.Refused = func(exchange.Kind) {}
	}
	if o.TailEvery == 0 {
		o.TailEvery = defaultTailEvery
	}
	if o.TailBeat == 0 {
		o.TailBeat = defaultTailBeat
	}
	if o.TailPatience == 0 {
		o.TailPatience = defaultTailPatience
	}
	s := &Server{o: o, pages: pageTokens{key: o.PageKey}, tails: make(chan struct{}, tailsAtOnce)}
	s.ending, s.endTails = context.WithCancel(context.Background())
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(o.RequestBytes),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
	cambiov1.RegisterExchangeServiceServer(s.grpc, exchangeService{Server: s})
	cambiov1.RegisterAuditServiceServer(s.grpc, auditService{Server: s})
	cambiov1.RegisterDenyServiceServer(s.grpc, denyService{Server: s})
	cambiov1.RegisterLeaseServiceServer(s.grpc, leaseService{Server: s})
	cambiov1.RegisterSigningServiceServer(s.grpc, signingService{Server: s})
	reflection.RegisterV1(s.grpc)
	if err := s.openGateway(); err != nil {
		s.Close()
		return nil, fmt.Errorf("opening the REST face: %w", err)
	}
	return s, nil
}

// openGateway lets grpc-gateway reach the gRPC server by memory. Its other way in,
// calling the services directly, would pass by the interceptors, and so by
// authentication.
func (s *Server) openGateway() error {
	listener := bufconn.Listen(64 << 10)
	s.serving.Go(func() {
		// It ends with Stop; there is nothing to say about that.
		_ = s.grpc.Serve(listener)
	})
	var err error
	s.inside, err = grpc.NewClient("passthrough:///memory",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(s.carry),
		grpc.WithStreamInterceptor(s.carryStream),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return err
	}
	gateway := newGateway()
	ctx := context.Background() // with a connection passed in, registering does not wait
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		cambiov1.RegisterExchangeServiceHandler,
		cambiov1.RegisterAuditServiceHandler,
		cambiov1.RegisterDenyServiceHandler,
		cambiov1.RegisterLeaseServiceHandler,
		cambiov1.RegisterSigningServiceHandler,
	} {
		if err := register(ctx, gateway, s.inside); err != nil {
			return err
		}
	}
	s.rest, err = s.newREST(gateway)
	return err
}

// Close ends the in-process part. The listener must have drained before, since
// calls still under way are cut.
func (s *Server) Close() {
	s.endTails()
	if s.inside != nil {
		_ = s.inside.Close()
	}
	s.grpc.Stop()
	s.serving.Wait()
}
