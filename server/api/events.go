package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// ListEvents gives a page of what belongs to no exchange. Looking is an event too,
// recorded first like every look.
func (s auditService) ListEvents(ctx context.Context, in *cambiov1.ListEventsRequest) (*cambiov1.ListEventsResponse, error) {
	caller := subjectOf(ctx)
	query := ledger.DeedQuery{Tenant: caller.Tenant, Limit: defaultPage}
	var err error
	if query.Types, err = deedTypes(in.GetType()); err != nil {
		return nil, err
	}
	switch size := in.GetPageSize(); {
	case size < 0:
		return nil, server.Invalid("page_size is negative: send 1 to 1000, or nothing for 50")
	case size > 0:
		query.Limit = min(int(size), ledger.MaxPage)
	}
	list := "events " + in.GetType()
	if in.GetPageToken() != "" {
		if query.After, err = s.pages.open(in.GetPageToken(), caller.Tenant, list); err != nil {
			return nil, err
		}
	}
	if err := s.note(ctx, caller, fmt.Sprintf("list events; type: %q; at most %d, after %q", in.GetType(), query.Limit, query.After)); err != nil {
		return nil, err
	}
	rows, next, err := s.o.Audit.Deeds(ctx, query)
	if err != nil {
		return nil, unreadable(err)
	}
	out := &cambiov1.ListEventsResponse{Events: make([]*cambiov1.Event, 0, len(rows))}
	for _, row := range rows {
		record, err := recordOf(row, caller.Tenant)
		if err != nil {
			return nil, err
		}
		out.Events = append(out.Events, &cambiov1.Event{
			Event: row.ID.String(), Type: row.Type.String(), Time: record.GetTime(), Record: record,
		})
	}
	if next != "" {
		out.NextPageToken = s.pages.seal(next, caller.Tenant, list)
	}
	return out, nil
}

// deedTypes reads a list of types. Queries are so many that they have to be asked
// for.
func deedTypes(text string) ([]exchange.EventType, error) {
	var types []exchange.EventType
	var names []string
	for _, t := range ledger.Deeds() {
		names = append(names, t.String())
		if text == "" && t != exchange.EventQueried {
			types = append(types, t)
		}
	}
	for name := range strings.SplitSeq(text, ",") {
		i := slices.Index(names, name)
		switch {
		case text == "":
		case i < 0:
			return nil, server.Invalid("type is one of " + strings.Join(names, ", ") + ", or several with commas")
		default:
			types = append(types, ledger.Deeds()[i])
		}
	}
	return types, nil
}
