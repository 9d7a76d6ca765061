package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// What a tail may cost. A page is all that is held for a caller who reads slowly,
// and one who does not read at all for Options.TailPatience is cut.
const (
	tailLimit   = time.Hour
	tailPage    = 100
	tailsAtOnce = 64 // on one replica
)

// The defaults of Options.TailEvery, Options.TailBeat and Options.TailPatience.
const (
	defaultTailEvery    = time.Second
	defaultTailBeat     = 15 * time.Second
	defaultTailPatience = 30 * time.Second
)

// tailPath is where the REST face serves tails by itself: grpc-gateway would give
// the failures of streams a form of its own.
const tailPath = "/v1/exchanges:tail"

// The ends of a tail that are nobody's fault. `after` goes on from each.
var (
	errStopping    = exchange.Fault(exchange.KindUnavailable, "the server is stopping: go on with the last exchange as after", nil)
	errTailOver    = exchange.Fault(exchange.KindUnavailable, "a tail lasts an hour: go on with the last exchange as after", nil)
	errTailExpired = exchange.Fault(exchange.KindUnauthenticated, "the token has expired: go on with a fresh one, and the last exchange as after", nil)
	errManyTails   = exchange.Fault(exchange.KindThrottled, "too many tails at once: try again later", nil)
)

// EndTails ends every tail, now and from now on, so that the listener can drain.
func (s *Server) EndTails() { s.endTails() }

// TailExchanges follows the ledger for one caller.
func (s auditService) TailExchanges(in *cambiov1.TailExchangesRequest, stream grpc.ServerStreamingServer[cambiov1.TailExchangesResponse]) error {
	ctx := stream.Context()
	caller := subjectOf(ctx)
	select {
	case s.tails <- struct{}{}:
		defer func() { <-s.tails }()
	default:
		return errManyTails
	}
	query := ledger.TailQuery{Tenant: caller.Tenant, Limit: tailPage}
	var err error
	if query.Filter, err = parseFilter(in.GetFilter()); err != nil {
		return err
	}
	var after exchange.ID
	if in.GetAfter() != "" {
		if after, err = exchange.ParseID(in.GetAfter()); err != nil {
			return server.Invalid("after: " + err.Error())
		}
	}
	if err := s.note(ctx, caller, fmt.Sprintf("tail exchanges; filter: %q; after %q", in.GetFilter(), in.GetAfter())); err != nil {
		return err
	}
	if !after.IsZero() {
		query.After, err = s.o.Audit.After(ctx, caller.Tenant, after)
	} else {
		_, query.After, _, err = s.o.Audit.Tail(ctx, query)
	}
	if err != nil {
		return unreadable(err)
	}
	if err := stream.Send(&cambiov1.TailExchangesResponse{}); err != nil {
		return err
	}
	return s.follow(ctx, caller, query, stream.Send)
}

// follow sends what there is, waits, and looks again. The role is asked for at
// each look: who loses it sees no more.
func (s auditService) follow(ctx context.Context, caller exchange.Subject, query ledger.TailQuery, send func(*cambiov1.TailExchangesResponse) error) error {
	look, beat := time.NewTicker(s.o.TailEvery), time.NewTicker(s.o.TailBeat)
	defer look.Stop()
	defer beat.Stop()
	for {
		if err := s.authorize(caller, readers); err != nil {
			return err
		}
		if !caller.Expires.IsZero() && !s.o.Now().Before(caller.Expires) {
			return errTailExpired
		}
		rows, next, more, err := s.o.Audit.Tail(ctx, query)
		if err != nil {
			return s.tailEnd(ctx, unreadable(err))
		}
		for _, row := range rows {
			record, err := recordOf(row, caller.Tenant)
			if err != nil {
				return err
			}
			if err := send(&cambiov1.TailExchangesResponse{Exchange: record}); err != nil {
				return err
			}
		}
		if len(rows) > 0 {
			beat.Reset(s.o.TailBeat)
		}
		if query.After = next; more {
			select {
			case <-s.ending.Done():
				return errStopping
			default:
				continue
			}
		}
		for waiting := true; waiting; {
			select {
			case <-s.ending.Done():
				return errStopping
			case <-ctx.Done():
				return s.tailEnd(ctx, ctx.Err())
			case <-beat.C:
				if err := send(&cambiov1.TailExchangesResponse{}); err != nil {
					return err
				}
			case <-look.C:
				waiting = false
			}
		}
	}
}

// tailEnd tells the end of the hour from other failures.
func (s auditService) tailEnd(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errTailOver
	}
	return err
}

// serveTail is the REST face of TailExchanges: one JSON object a line. The failure
// of a tail that has begun is its last line.
func (f *rest) serveTail(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	stream, err := cambiov1.NewAuditServiceClient(f.inside).TailExchanges(r.Context(), &cambiov1.TailExchangesRequest{
		Filter: query.Get("filter"), After: query.Get("after"),
	})
	var message *cambiov1.TailExchangesResponse
	if err == nil {
		message, err = stream.Recv()
	}
	if err != nil {
		writeFailure(w, r, failureOfStatus(status.Convert(err)))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	write := func(line []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(f.o.TailPatience)) // where it can be set
		if _, err := w.Write(append(line, '\n')); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	for {
		line, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
		if err != nil || !write(slices.Concat([]byte(`{"result":`), line, []byte("}"))) {
			return
		}
		if message, err = stream.Recv(); err != nil {
			write(failureOfStatus(status.Convert(err)).body())
			return
		}
	}
}

// patient cuts a caller who takes nothing of an answer for so long.
type patient struct {
	http.ResponseWriter
	patience time.Duration
}

// Write gives each write its time.
func (p patient) Write(b []byte) (int, error) {
	_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(p.patience)) // where it can be set
	return p.ResponseWriter.Write(b)
}

// Flush is asked for by type.
func (p patient) Flush() { _ = http.NewResponseController(p.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (p patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }
