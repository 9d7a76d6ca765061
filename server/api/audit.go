package api

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// The sizes of a page. maxPageBytes keeps an answer under the 4 MiB that gRPC
// clients take by default; a page may hold fewer exchanges than asked.
const (
	defaultPage  = 50
	maxPageBytes = 3 << 20
)

type auditService struct {
	cambiov1.UnimplementedAuditServiceServer
	*Server
}

// ListExchanges gives a page. The caller's tenant bounds it (S22).
func (s auditService) ListExchanges(ctx context.Context, in *cambiov1.ListExchangesRequest) (*cambiov1.ListExchangesResponse, error) {
	filter, err := parseFilter(in.GetFilter())
	if err != nil {
		return nil, err
	}
	list, next, err := s.page(ctx, filter, in.GetFilter(), in, "list exchanges; filter: %q; at most %d, after %q")
	if err != nil {
		return nil, err
	}
	return &cambiov1.ListExchangesResponse{Exchanges: list, NextPageToken: next}, nil
}

// FindCredential gives a page of those to whom a credential was handed out. What
// is recorded of the query, and what filters and page tokens see, is the
// fingerprint.
func (s auditService) FindCredential(ctx context.Context, in *cambiov1.FindCredentialRequest) (*cambiov1.FindCredentialResponse, error) {
	if in.GetCredential() == "" {
		return nil, server.Invalid("credential is empty: send the credential, exactly as it was handed out")
	}
	fingerprint := s.o.Fingerprint(exchange.NewSecret(in.GetCredential()))
	filter := ledger.Filter{Root: &ledger.Node{Op: ledger.OpEq, Field: ledger.FieldCredential, Value: ledger.Value{Text: fingerprint}}}
	list, next, err := s.page(ctx, filter, "credential "+fingerprint, in, "find %s; at most %d, after %q")
	if err != nil {
		return nil, err
	}
	return &cambiov1.FindCredentialResponse{Credential: fingerprint, Exchanges: list, NextPageToken: next}, nil
}

// page reads one page, the query recorded first. text stands for the filter in the
// record and in the page token.
func (s auditService) page(ctx context.Context, filter ledger.Filter, text string, in interface {
	GetPageSize() int32
	GetPageToken() string
}, note string) (list []*cambiov1.Exchange, token string, err error) {
	caller := subjectOf(ctx)
	query := ledger.Query{Tenant: caller.Tenant, Filter: filter, Limit: defaultPage}
	switch size := in.GetPageSize(); {
	case size < 0:
		return nil, "", server.Invalid("page_size is negative: send 1 to 1000, or nothing for 50")
	case size > 0:
		query.Limit = min(int(size), ledger.MaxPage)
	}
	if in.GetPageToken() != "" {
		if query.After, err = s.pages.open(in.GetPageToken(), caller.Tenant, text); err != nil {
			return nil, "", err
		}
	}
	if err := s.note(ctx, caller, fmt.Sprintf(note, text, query.Limit, query.After)); err != nil {
		return nil, "", err
	}
	rows, next, err := s.o.Log.List(ctx, query)
	if err != nil {
		return nil, "", unreadable(err)
	}
	bytes := 0
	for i, row := range rows {
		record, err := recordOf(row, caller.Tenant)
		if err != nil {
			return nil, "", err
		}
		if bytes += proto.Size(record); bytes > maxPageBytes && i > 0 {
			next = ledger.Cursor(rows[i-1].Exchange.String())
			break
		}
		list = append(list, record)
	}
	if next != "" {
		token = s.pages.seal(next, caller.Tenant, text)
	}
	return list, token, nil
}

// GetExchange gives everything about one exchange. One of another tenant is not
// there at all.
func (s auditService) GetExchange(ctx context.Context, in *cambiov1.GetExchangeRequest) (*cambiov1.GetExchangeResponse, error) {
	caller := subjectOf(ctx)
	id, err := exchange.ParseID(in.GetExchange())
	if err != nil {
		return nil, server.Invalid("exchange: " + err.Error())
	}
	if err := s.note(ctx, caller, "get exchange "+id.String()); err != nil {
		return nil, err
	}
	rows, err := s.o.Log.Get(ctx, caller.Tenant, id)
	if err != nil {
		return nil, unreadable(err)
	}
	if len(rows) == 0 {
		return nil, exchange.Fault(exchange.KindNotFound, "there is no such exchange", nil)
	}
	out := &cambiov1.GetExchangeResponse{Events: make([]*cambiov1.Event, 0, len(rows))}
	for _, row := range rows {
		record, err := recordOf(row, caller.Tenant)
		if err != nil {
			return nil, err
		}
		out.Events = append(out.Events, &cambiov1.Event{
			Event: row.ID.String(), Type: row.Type.String(), Time: record.GetTime(), Record: record,
		})
		if row.Type.Terminal() || out.Exchange.GetOutcome() == "" {
			out.Exchange = record
		}
	}
	return out, nil
}

// note records the query before its answer leaves; without a record there is no
// answer.
func (s auditService) note(ctx context.Context, caller exchange.Subject, what string) error {
	now := s.o.Now()
	id, err := exchange.NewID(now, s.o.Random)
	if err != nil {
		return fmt.Errorf("naming an event: %w", err)
	}
	c, facts := callerOf(ctx), server.FactsOf(ctx)
	record := exchange.Record{
		Exchange: id.String(), Type: exchange.EventQueried.String(), At: exchange.FormatTime(now), Tenant: caller.Tenant,
		Subject: caller.Name, Trust: caller.Trust, Door: c.door, Explanation: what,
		UserAgent: c.userAgent, TraceID: facts.TraceID, TokenID: caller.JTI, KeyID: caller.KeyID, Claims: caller.Record,
	}
	if facts.ClientIP.IsValid() {
		record.ClientIP = facts.ClientIP.String()
	}
	event := exchange.Event{ID: id, Exchange: id, Tenant: caller.Tenant, Type: exchange.EventQueried, At: now, Record: record}
	if err := s.o.Note(ctx, event); err != nil {
		return exchange.Fault(exchange.KindUnavailable, "the query could not be recorded, so it was not answered; try again", err)
	}
	return nil
}

// unreadable is for what the engine did not classify.
func unreadable(err error) error {
	var known *exchange.Error
	if errors.As(err, &known) {
		return err
	}
	return exchange.Fault(exchange.KindUnavailable, "the ledger could not be read; try again", err)
}
