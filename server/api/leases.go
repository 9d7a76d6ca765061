package api

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
)

// Leases is where owners and operators look after what is out; *lease.Desk is one.
type Leases interface {
	Leases(ctx context.Context, q lease.List) ([]exchange.Lease, error)
	Lease(ctx context.Context, tenant string, id exchange.ID) (lease.Outstanding, error)
	// Fixed says why nobody could renew a lease; empty: it may be renewed.
	Fixed(l exchange.Lease) string
	Renew(ctx context.Context, x lease.Extension) (exchange.Lease, error)
	Revoke(ctx context.Context, r lease.Revocation, from lease.Place) (lease.Revoked, error)
}

type leaseService struct {
	cambiov1.UnimplementedLeaseServiceServer
	*Server
}

// errNoLease is also for somebody else's, so that ids cannot be probed.
var errNoLease = exchange.Fault(exchange.KindNotFound, "there is no such lease", nil)

// owns reports whether a lease is the caller's: it is for them, or they hold it.
func owns(caller exchange.Subject, l *exchange.Lease) bool {
	return l.Tenant == caller.Tenant && (l.Subject == caller.Name || l.Actor != "" && l.Actor == caller.Name)
}

// find returns a lease that the caller owns, or may look after by one of the roles.
// What the roles open is recorded first.
func (s leaseService) find(ctx context.Context, caller exchange.Subject, text string, roles []string, what string) (found lease.Outstanding, owner bool, err error) {
	id, err := exchange.ParseID(text)
	if err != nil {
		return found, false, server.Invalid("lease: " + err.Error())
	}
	if s.holds(caller, roles) {
		if err := s.query(ctx, caller, what+" lease "+id.String()); err != nil {
			return found, false, err
		}
		found, err = s.o.Leases.Lease(ctx, caller.Tenant, id)
		return found, err == nil && owns(caller, &found.Lease), err
	}
	found, err = s.o.Leases.Lease(ctx, caller.Tenant, id)
	if err == nil && !owns(caller, &found.Lease) {
		return lease.Outstanding{}, false, errNoLease
	}
	return found, true, err
}

// ListLeases gives a page: the caller's own, or with a role everybody's.
func (s leaseService) ListLeases(ctx context.Context, in *cambiov1.ListLeasesRequest) (*cambiov1.ListLeasesResponse, error) {
	caller := subjectOf(ctx)
	q := lease.List{
		Tenant: caller.Tenant, Ended: in.GetShowEnded(), Subject: in.GetSubject(), Actor: in.GetActor(), Target: in.GetTarget(),
		Provider: in.GetProvider(), Rule: in.GetRule(), Limit: defaultPage,
	}
	for _, bound := range []struct {
		name string
		asks *timestamppb.Timestamp
		to   *time.Time
	}{{"expires_before", in.GetExpiresBefore(), &q.ExpiresBefore}, {"expires_after", in.GetExpiresAfter(), &q.ExpiresAfter}} {
		if bound.asks == nil {
			continue
		}
		if bound.asks.CheckValid() != nil {
			return nil, server.Invalid(bound.name + " is no moment")
		}
		*bound.to = bound.asks.AsTime()
	}
	for name, value := range map[string]string{"subject": q.Subject, "actor": q.Actor, "target": q.Target, "provider": q.Provider, "rule": q.Rule} {
		if hasControl(value) {
			return nil, server.Invalid(name + " holds a control character: send one line of text")
		}
	}
	switch size := in.GetPageSize(); {
	case size < 0:
		return nil, server.Invalid("page_size is negative: send 1 to 1000, or nothing for 50")
	case size > 0:
		q.Limit = min(int(size), ledger.MaxPage)
	}
	reader := s.holds(caller, readers)
	if !reader {
		q.Owner = caller.Name
	}
	list := fmt.Sprintf("leases of %q; subject %q, actor %q, target %q, provider %q, rule %q; expiry from %s to %s; the ended among them: %t",
		q.Owner, q.Subject, q.Actor, q.Target, q.Provider, q.Rule, exchange.FormatTime(q.ExpiresAfter), exchange.FormatTime(q.ExpiresBefore), q.Ended)
	if in.GetPageToken() != "" {
		cursor, err := s.pages.open(in.GetPageToken(), caller.Tenant, leaseList+list)
		if err != nil {
			return nil, err
		}
		place, err := placeOf(string(cursor))
		if err != nil || place.Intents {
			return nil, errPageToken
		}
		q.Expires, q.After = place.Expires, place.After
	}
	if reader {
		if err := s.query(ctx, caller, "list "+list); err != nil {
			return nil, err
		}
	}
	limit := q.Limit
	q.Limit++
	found, err := s.o.Leases.Leases(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &cambiov1.ListLeasesResponse{}
	if len(found) > limit {
		found = found[:limit]
		last := lease.Place{Expires: found[limit-1].Expires, After: found[limit-1].ID}
		out.NextPageToken = s.pages.seal(ledger.Cursor(cursorOf(last)), caller.Tenant, leaseList+list)
	}
	for _, l := range found {
		out.Leases = append(out.Leases, s.leaseOf(l))
	}
	return out, nil
}

// GetLease gives one lease.
func (s leaseService) GetLease(ctx context.Context, in *cambiov1.GetLeaseRequest) (*cambiov1.GetLeaseResponse, error) {
	found, _, err := s.find(ctx, subjectOf(ctx), in.GetLease(), readers, "get")
	if err != nil {
		return nil, err
	}
	out := s.leaseOf(found.Lease)
	out.Credential, out.Scopes = found.Record.Credential, found.Record.Scopes
	return &cambiov1.GetLeaseResponse{Lease: out}, nil
}

// RenewLease lets a credential live longer.
func (s leaseService) RenewLease(ctx context.Context, in *cambiov1.RenewLeaseRequest) (*cambiov1.RenewLeaseResponse, error) {
	caller := subjectOf(ctx)
	switch {
	case in.GetRequestedLifetime() < 0:
		return nil, server.Invalid("requested_lifetime is negative: send seconds, or nothing")
	case len(in.GetReason()) > maxReason || hasControl(in.GetReason()):
		return nil, server.Invalid(fmt.Sprintf("reason is not one line of at most %d bytes", maxReason))
	}
	found, _, err := s.find(ctx, caller, in.GetLease(), stoppers, "renew")
	if err != nil {
		return nil, err
	}
	renewed, err := s.o.Leases.Renew(ctx, lease.Extension{
		Tenant: caller.Tenant, Lease: found.ID, Subject: caller, Lifetime: time.Duration(in.GetRequestedLifetime()) * time.Second,
		Reason: in.GetReason(), ClientIP: server.FactsOf(ctx).ClientIP, By: s.deed(ctx, caller).Record,
	})
	if err != nil {
		return nil, err
	}
	return &cambiov1.RenewLeaseResponse{Lease: s.leaseOf(renewed)}, nil
}

// maxReason bounds a reason, in bytes.
const maxReason = 512

// RevokeLease takes a credential back, and what was obtained with it.
func (s leaseService) RevokeLease(ctx context.Context, in *cambiov1.RevokeLeaseRequest) (*cambiov1.RevokeLeaseResponse, error) {
	caller := subjectOf(ctx)
	found, owner, err := s.find(ctx, caller, in.GetLease(), stoppers, "revoke")
	if err != nil {
		return nil, err
	}
	pages := leasePages + found.ID.String() + caller.Name
	var from lease.Place
	if in.GetPageToken() != "" {
		cursor, err := s.pages.open(in.GetPageToken(), caller.Tenant, pages)
		if err != nil {
			return nil, err
		}
		if from, err = placeOf(string(cursor)); err != nil {
			return nil, err
		}
	}
	done, err := s.o.Leases.Revoke(ctx, lease.Revocation{
		Tenant: caller.Tenant, Lease: found.ID, Reason: in.GetReason(), NeedsReason: !owner, By: s.deed(ctx, caller).Record,
	}, from)
	if err != nil {
		return nil, err
	}
	out := &cambiov1.RevokeLeaseResponse{Lease: s.leaseOf(done.Lease), Credentials: make([]*cambiov1.DeniedCredential, len(done.Credentials))}
	for i := range done.Credentials {
		out.Credentials[i] = deniedOf(&done.Credentials[i])
	}
	if done.More {
		out.NextPageToken = s.pages.seal(ledger.Cursor(cursorOf(done.Next)), caller.Tenant, pages)
	}
	return out, nil
}

// What page tokens of these lists are bound to.
const (
	leaseList  = "\x00leases\x00"
	leasePages = "\x00lease\x00"
)

var leaseStates = map[exchange.LeaseState]cambiov1.Lease_State{
	exchange.LeaseActive: cambiov1.Lease_STATE_ACTIVE, exchange.LeaseRevoked: cambiov1.Lease_STATE_REVOKED, exchange.LeaseExpired: cambiov1.Lease_STATE_EXPIRED,
}

var leaseWays = map[lease.Way]cambiov1.Lease_Revocation{
	lease.WayProvider: cambiov1.Lease_REVOCATION_PROVIDER, lease.WayHere: cambiov1.Lease_REVOCATION_HERE, lease.WayNone: cambiov1.Lease_REVOCATION_NONE,
}

// leaseOf makes the message of a lease.
func (s leaseService) leaseOf(l exchange.Lease) *cambiov1.Lease {
	state := lease.StateOf(l, s.o.Now())
	out := &cambiov1.Lease{
		Lease: l.ID.String(), State: leaseStates[state], Exchange: l.Exchange.String(), Subject: l.Subject, Actor: l.Actor,
		Target: l.Target, Provider: l.Provider, Rule: l.Rule, Handle: l.Handle, IssueTime: momentOf(l.Issued),
		ExpireTime: momentOf(l.Expires), RevokeTime: momentOf(l.Revoked), Revocation: leaseWays[lease.WayOf(l)],
	}
	for _, ancestor := range l.Lineage {
		out.Lineage = append(out.Lineage, ancestor.String())
	}
	if state == exchange.LeaseActive {
		if out.NotRenewable = s.o.Leases.Fixed(l); out.NotRenewable == "" {
			out.Renewable, out.LatestExpireTime = true, momentOf(l.Latest)
		}
	}
	return out
}
