package api_test

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server/api"
)

// A caller who takes nothing is cut by either face: its tail ends at the server,
// while the connection is open and would wait.
func TestTailOfWhoReadsNothingIsCut(t *testing.T) {
	for face, begin := range map[string]func(t *testing.T, h *house) (fate func() error){
		"grpc": func(t *testing.T, h *house) func() error {
			return h.tailGRPC(t, auditor, &cambiov1.TailExchangesRequest{}).fate
		},
		"rest": func(t *testing.T, h *house) func() error {
			conn, err := net.Dial("tcp", h.address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			if _, err := io.WriteString(conn, "GET /v1/exchanges:tail HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+auditor+"\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			return func() error {
				text, err := io.ReadAll(conn)
				if err == nil && !strings.HasSuffix(string(text), "0\r\n\r\n") { // the last chunk of a whole answer
					err = io.ErrUnexpectedEOF
				}
				return err
			}
		},
	} {
		t.Run(face, func(t *testing.T) {
			cut := make(chan struct{})
			h := open(t, func(o *api.Options) {
				o.Audit, o.TailPatience = flood{o.Log.(*book), cut}, 50*time.Millisecond
			})
			fate := begin(t, h)
			<-cut
			err := fate()
			if err == nil || status.Code(err) == codes.OK {
				t.Error("the tail ended as if it were whole")
			}
			// Who reads is served; where the machine is slow, only at another try.
			for id := ""; id == ""; {
				next := h.tailGRPC(t, auditor, &cambiov1.TailExchangesRequest{})
				for err := error(nil); err == nil && id == ""; {
					id, err = next.next()
				}
			}
		})
	}
}

// flood always has more, of great rows. cut is closed when the call of whoever came
// first has ended.
type flood struct {
	*book
	cut chan struct{}
}

func (f flood) Tail(ctx context.Context, q ledger.TailQuery) ([]ledger.Exchange, ledger.Place, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", false, err
	}
	if q.After == "" { // the first look of a tail
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.notes) == 1 {
			context.AfterFunc(ctx, func() { close(f.cut) })
		}
		return nil, "0", false, nil
	}
	record := ledger.Encode(exchange.Event{ID: exchangeID, Exchange: exchangeID, Tenant: "default", Type: exchange.EventIssued, At: noon,
		Record: exchange.Record{Explanation: strings.Repeat("x", 4000)}})
	row := ledger.Exchange{ID: exchangeID, Exchange: exchangeID, Tenant: "default", Type: exchange.EventIssued, Record: record}
	return slices.Repeat([]ledger.Exchange{row}, q.Limit), "0", true, nil
}
