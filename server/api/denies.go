package api

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// Desk is where operators stop things; *lease.Desk is one.
type Desk interface {
	Add(ctx context.Context, d exchange.Deny, event exchange.Event) (exchange.Deny, error)
	Remove(ctx context.Context, tenant string, id exchange.ID, event exchange.Event) error
	List(ctx context.Context, tenant string, below int64, ended bool, limit int) ([]exchange.Deny, error)
	Stop(ctx context.Context, d exchange.Deny, operator string, from lease.Place) ([]lease.Stopped, lease.Place, bool, error)
}

type denyService struct {
	cambiov1.UnimplementedDenyServiceServer
	*Server
}

// AddDeny puts a deny in force and takes back what it covers. Where the second part
// fails, the first stands, and the same request goes on from there.
func (s denyService) AddDeny(ctx context.Context, in *cambiov1.AddDenyRequest) (*cambiov1.AddDenyResponse, error) {
	caller := subjectOf(ctx)
	d := exchange.Deny{Tenant: caller.Tenant, Match: in.GetMatch(), Reason: in.GetReason()}
	var from lease.Place
	var err error
	if in.GetRequestId() != "" {
		if d.ID, err = exchange.ParseID(in.GetRequestId()); err != nil {
			return nil, server.Invalid("request_id: " + err.Error())
		}
	}
	if in.GetExpireTime() != nil {
		if in.GetExpireTime().CheckValid() != nil {
			return nil, server.Invalid("expire_time is no moment")
		}
		d.Expires = in.GetExpireTime().AsTime()
	}
	if in.GetPageToken() != "" {
		if d.ID.IsZero() {
			return nil, server.Invalid("page_token goes with the request_id that it came for: send the deny's id as request_id")
		}
		cursor, err := s.pages.open(in.GetPageToken(), caller.Tenant, denyPages+d.ID.String())
		if err != nil {
			return nil, err
		}
		if from, err = placeOf(string(cursor)); err != nil {
			return nil, err
		}
	}
	if d, err = s.o.Desk.Add(ctx, d, s.deed(ctx, caller)); err != nil {
		return nil, err
	}
	stopped, next, more, err := s.o.Desk.Stop(ctx, d, caller.Name, from)
	if err != nil {
		return nil, exchange.Fault(exchange.KindUnavailable, "the deny "+d.ID.String()+" is in force; what is outstanding could not be read. Send the same request again with that as request_id", err)
	}
	out := &cambiov1.AddDenyResponse{Deny: denyOf(d), Epoch: d.Epoch, Credentials: make([]*cambiov1.DeniedCredential, len(stopped))}
	for i := range stopped {
		out.Credentials[i] = deniedOf(&stopped[i])
	}
	if more {
		out.NextPageToken = s.pages.seal(ledger.Cursor(cursorOf(next)), caller.Tenant, denyPages+d.ID.String())
	}
	return out, nil
}

// ListDenies gives a page.
func (s denyService) ListDenies(ctx context.Context, in *cambiov1.ListDeniesRequest) (*cambiov1.ListDeniesResponse, error) {
	caller := subjectOf(ctx)
	list := denyList + strconv.FormatBool(in.GetShowRemoved())
	limit, below := defaultPage, int64(0)
	switch size := in.GetPageSize(); {
	case size < 0:
		return nil, server.Invalid("page_size is negative: send 1 to 1000, or nothing for 50")
	case size > 0:
		limit = min(int(size), ledger.MaxPage)
	}
	if in.GetPageToken() != "" {
		cursor, err := s.pages.open(in.GetPageToken(), caller.Tenant, list)
		if err != nil {
			return nil, err
		}
		if below, err = strconv.ParseInt(string(cursor), 10, 64); err != nil {
			return nil, errPageToken
		}
	}
	if err := s.query(ctx, caller, "list denies; the ended among them: "+strconv.FormatBool(in.GetShowRemoved())); err != nil {
		return nil, err
	}
	denies, err := s.o.Desk.List(ctx, caller.Tenant, below, in.GetShowRemoved(), limit+1)
	if err != nil {
		return nil, err
	}
	out := &cambiov1.ListDeniesResponse{}
	if len(denies) > limit {
		denies = denies[:limit]
		out.NextPageToken = s.pages.seal(ledger.Cursor(strconv.FormatInt(denies[limit-1].Epoch, 10)), caller.Tenant, list)
	}
	for _, d := range denies {
		out.Denies = append(out.Denies, denyOf(d))
	}
	return out, nil
}

// RemoveDeny ends a deny.
func (s denyService) RemoveDeny(ctx context.Context, in *cambiov1.RemoveDenyRequest) (*cambiov1.RemoveDenyResponse, error) {
	caller := subjectOf(ctx)
	id, err := exchange.ParseID(in.GetDeny())
	if err != nil {
		return nil, server.Invalid("deny: " + err.Error())
	}
	if err := s.o.Desk.Remove(ctx, caller.Tenant, id, s.deed(ctx, caller)); err != nil {
		return nil, err
	}
	return &cambiov1.RemoveDenyResponse{}, nil
}

// What page tokens of these lists are bound to. No filter of exchanges reads so.
const (
	denyPages = "\x00deny\x00"
	denyList  = "\x00denies\x00"
)

// cursorOf writes a place.
func cursorOf(p lease.Place) string {
	if p.Intents {
		return "intents " + p.After.String()
	}
	return strconv.FormatInt(p.Expires.UnixMicro(), 10) + " " + p.After.String()
}

// placeOf reads what cursorOf wrote.
func placeOf(cursor string) (lease.Place, error) {
	first, rest, _ := strings.Cut(cursor, " ")
	id, err := exchange.ParseID(rest)
	if err != nil {
		return lease.Place{}, errPageToken
	}
	if first == "intents" {
		return lease.Place{Intents: true, After: id}, nil
	}
	micros, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return lease.Place{}, errPageToken
	}
	return lease.Place{Expires: time.UnixMicro(micros).UTC(), After: id}, nil
}

// deed is an event that says who does something, from where.
func (s *Server) deed(ctx context.Context, caller exchange.Subject) exchange.Event {
	c, facts := callerOf(ctx), server.FactsOf(ctx)
	record := exchange.Record{
		Subject: caller.Name, Trust: caller.Trust, Door: c.door, UserAgent: c.userAgent,
		TraceID: facts.TraceID, TokenID: caller.JTI, KeyID: caller.KeyID, Claims: caller.Record,
	}
	if facts.ClientIP.IsValid() {
		record.ClientIP = facts.ClientIP.String()
	}
	return exchange.Event{Tenant: caller.Tenant, Record: record}
}

// queried is the event of a query.
func (s *Server) queried(ctx context.Context, caller exchange.Subject, what string) (exchange.Event, error) {
	now := s.o.Now()
	id, err := exchange.NewID(now, s.o.Random)
	if err != nil {
		return exchange.Event{}, err
	}
	e := s.deed(ctx, caller)
	e.ID, e.Exchange, e.Type, e.At = id, id, exchange.EventQueried, now
	e.Record.Exchange, e.Record.Tenant, e.Record.Type = id.String(), caller.Tenant, e.Type.String()
	e.Record.At, e.Record.Explanation = exchange.FormatTime(now), what
	return e, nil
}

// query records a query before its answer leaves; without a record there is no
// answer.
func (s *Server) query(ctx context.Context, caller exchange.Subject, what string) error {
	event, err := s.queried(ctx, caller, what)
	if err != nil {
		return err
	}
	if err := s.o.Note(ctx, event); err != nil {
		return exchange.Fault(exchange.KindUnavailable, "the query could not be recorded, so it was not answered; try again", err)
	}
	return nil
}

func denyOf(d exchange.Deny) *cambiov1.Deny {
	return &cambiov1.Deny{
		Deny: d.ID.String(), Match: d.Match, Reason: d.Reason, CreateTime: timestamppb.New(d.Created),
		ExpireTime: momentOf(d.Expires), RemoveTime: momentOf(d.Removed),
	}
}

func momentOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

var fates = map[lease.Fate]cambiov1.DeniedCredential_State{
	lease.FateRevoked:    cambiov1.DeniedCredential_STATE_REVOKED,
	lease.FateExpires:    cambiov1.DeniedCredential_STATE_EXPIRES,
	lease.FateNotStopped: cambiov1.DeniedCredential_STATE_NOT_STOPPED,
	lease.FatePending:    cambiov1.DeniedCredential_STATE_PENDING,
	lease.FateRefused:    cambiov1.DeniedCredential_STATE_REFUSED,
}

func deniedOf(s *lease.Stopped) *cambiov1.DeniedCredential {
	out := &cambiov1.DeniedCredential{
		State: fates[s.Fate], ExpireTime: momentOf(s.Lease.Expires), Explanation: s.Why, Exchange: s.Lease.Exchange.String(),
		Subject: s.Lease.Subject, Target: s.Lease.Target, Provider: s.Lease.Provider, Rule: s.Lease.Rule,
		Handle: s.Lease.Handle, Credential: s.Credential,
	}
	if !s.Lease.ID.IsZero() {
		out.Lease = s.Lease.ID.String()
	}
	return out
}
