package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// The bounds of a summary, and what it is where nothing is said.
const (
	defaultSummary = 1000 // rows
	defaultSpan    = 30 * 24 * time.Hour
	maxSpan        = 400 * 24 * time.Hour
)

// SummarizeExchanges counts.
func (s auditService) SummarizeExchanges(ctx context.Context, in *cambiov1.SummarizeExchangesRequest) (*cambiov1.SummarizeExchangesResponse, error) {
	caller := subjectOf(ctx)
	query := ledger.SummaryQuery{Tenant: caller.Tenant, Limit: defaultSummary}
	var err error
	if query.Filter, err = parseFilter(in.GetFilter()); err != nil {
		return nil, err
	}
	if query.By, err = parseBy(in.GetBy()); err != nil {
		return nil, err
	}
	switch rows := in.GetMaxRows(); {
	case rows < 0:
		return nil, server.Invalid("max_rows is negative: send 1 to 10000, or nothing for 1000")
	case rows > 0:
		query.Limit = min(int(rows), ledger.MaxSummary)
	}
	from, until, err := span(in, s.o.Now())
	if err != nil {
		return nil, err
	}
	query.From, query.Until = from.UnixMicro(), until.UnixMicro()
	if err := s.note(ctx, caller, fmt.Sprintf("summarize exchanges; filter: %q; by %q; from %s until %s",
		in.GetFilter(), in.GetBy(), exchange.FormatTime(from), exchange.FormatTime(until))); err != nil {
		return nil, err
	}
	got, err := s.o.Audit.Summarize(ctx, query)
	if err != nil {
		return nil, unreadable(err)
	}
	out := &cambiov1.SummarizeExchangesResponse{
		Rows: make([]*cambiov1.ExchangeCount, len(got.Rows)), GroupCount: got.Groups, ExchangeCount: got.Total,
		StartTime: timestamppb.New(from), EndTime: timestamppb.New(until),
	}
	for i, c := range got.Rows {
		out.Rows[i] = &cambiov1.ExchangeCount{Subject: c.Subject, Target: c.Target, Rule: c.Rule, Outcome: c.Outcome.String(), Count: c.N}
		if c.Hour != 0 {
			out.Rows[i].Hour = timestamppb.New(time.UnixMicro(c.Hour))
		}
	}
	return out, nil
}

// parseBy reads the dimensions.
func parseBy(text string) ([]ledger.Dimension, error) {
	if text == "" {
		return []ledger.Dimension{ledger.ByOutcome}, nil
	}
	var by []ledger.Dimension
	seen := map[string]bool{}
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		known := false
		for _, d := range ledger.Dimensions() {
			known = known || string(d) == name
		}
		if !known || seen[name] {
			return nil, server.Invalid("by is hour, subject, target, rule or outcome, or several separated by commas, each once")
		}
		seen[name] = true
		by = append(by, ledger.Dimension(name))
	}
	return by, nil
}

// span is the time asked for, in whole hours.
func span(in *cambiov1.SummarizeExchangesRequest, now time.Time) (from, until time.Time, err error) {
	if in.GetStartTime().CheckValid() != nil && in.GetStartTime() != nil || in.GetEndTime().CheckValid() != nil && in.GetEndTime() != nil {
		return from, until, server.Invalid("start_time or end_time is no time: write 2026-11-21T12:00:00Z")
	}
	until = now
	if in.GetEndTime() != nil {
		until = in.GetEndTime().AsTime()
	}
	if rounded := until.UTC().Truncate(time.Hour); rounded.Before(until) {
		until = rounded.Add(time.Hour)
	} else {
		until = rounded
	}
	from = until.Add(-defaultSpan)
	if in.GetStartTime() != nil {
		from = in.GetStartTime().AsTime().Truncate(time.Hour)
	}
	switch {
	case !from.Before(until):
		return from, until, server.Invalid("start_time is not before end_time")
	case until.Sub(from) > maxSpan:
		return from, until, server.Invalid("a summary covers 400 days at most: ask for less time")
	case from.Unix() < 0 || until.Year() > 9998:
		return from, until, server.Invalid("start_time or end_time is no time that the ledger could have: it begins in 1970")
	}
	return from, until, nil
}
