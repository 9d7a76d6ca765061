-- name: Lease :one
select l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
	l.actor, l.lineage, l.latest, l.origin, l.revoked
from cambio.leases l where l.tenant = sqlc.arg(tenant) and l.id = sqlc.arg(id);

-- name: LeaseWithRecord :one
select l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
	l.actor, l.lineage, l.latest, l.origin, l.revoked, e.record
from cambio.leases l
left join cambio.events e
	on e.tenant = l.tenant and e.exchange = l.exchange and e.slot = '00000000-0000-0000-0000-000000000002'
where l.tenant = sqlc.arg(tenant) and l.id = sqlc.arg(id);

-- name: Outstanding :many
-- Leases that are active and not expired, the first to expire first, with the
-- records of the exchanges that minted them. The index is entered at now(), so as not
-- to pass by the expired: an index knows no clock_timestamp(), which moves.
select l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
	l.actor, l.lineage, l.latest, l.origin, l.revoked, e.record
from cambio.leases l
left join cambio.events e
	on e.tenant = l.tenant and e.exchange = l.exchange and e.slot = '00000000-0000-0000-0000-000000000002'
where l.tenant = sqlc.arg(tenant) and l.state = 1 and l.expires > now()
	and (l.expires, l.id) > (greatest(sqlc.arg(after_expires)::timestamptz, now()), sqlc.arg(after_id)::uuid)
	and (sqlc.arg(subject)::text = '' or l.subject = sqlc.arg(subject)::text)
	and (sqlc.arg(target)::text = '' or l.target = sqlc.arg(target)::text)
	and (sqlc.arg(rule)::text = '' or l.rule = sqlc.arg(rule)::text)
order by l.expires, l.id limit sqlc.arg(most);

-- name: Descendants :many
-- As Outstanding, of one lease and what descends from it. The family is found first:
-- it is small, and what is out may be much.
with family as materialized (
	select r.tenant, r.id from cambio.leases r where r.tenant = sqlc.arg(tenant) and r.id = sqlc.arg(root)::uuid
	union
	select d.tenant, d.id from cambio.leases d where d.tenant = sqlc.arg(tenant) and d.lineage @> array[sqlc.arg(root)::uuid]
)
select l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
	l.actor, l.lineage, l.latest, l.origin, l.revoked, e.record
from family f join cambio.leases l on l.tenant = f.tenant and l.id = f.id
left join cambio.events e
	on e.tenant = l.tenant and e.exchange = l.exchange and e.slot = '00000000-0000-0000-0000-000000000002'
where l.state = 1 and l.expires > now()
	and (l.expires, l.id) > (sqlc.arg(after_expires)::timestamptz, sqlc.arg(after_id)::uuid)
	and (sqlc.arg(subject)::text = '' or l.subject = sqlc.arg(subject)::text)
	and (sqlc.arg(target)::text = '' or l.target = sqlc.arg(target)::text)
	and (sqlc.arg(rule)::text = '' or l.rule = sqlc.arg(rule)::text)
order by l.expires, l.id limit sqlc.arg(most);

-- name: ListLeases :many
-- The last to expire first.
select l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
	l.actor, l.lineage, l.latest, l.origin, l.revoked
from cambio.leases l
where l.tenant = sqlc.arg(tenant) and l.expires > case when sqlc.arg(ended)::boolean then '-infinity' else now() end
	and (sqlc.arg(ended)::boolean or l.state = 1)
	and l.expires > sqlc.arg(expires_after)::timestamptz
	and (l.expires, l.id) < (sqlc.arg(below_expires)::timestamptz, sqlc.arg(below_id)::uuid)
	and (sqlc.arg(owner)::text = '' or l.subject = sqlc.arg(owner)::text or l.actor = sqlc.arg(owner)::text)
	and (sqlc.arg(subject)::text = '' or l.subject = sqlc.arg(subject)::text)
	and (sqlc.arg(actor)::text = '' or l.actor = sqlc.arg(actor)::text)
	and (sqlc.arg(target)::text = '' or l.target = sqlc.arg(target)::text)
	and (sqlc.arg(provider)::text = '' or l.provider = sqlc.arg(provider)::text)
	and (sqlc.arg(rule)::text = '' or l.rule = sqlc.arg(rule)::text)
order by l.expires desc, l.id desc limit sqlc.arg(most);

-- name: RevokeLease :execrows
update cambio.leases set state = 2, revoked = clock_timestamp()
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and state = 1 and expires > clock_timestamp();

-- name: CurrentEpoch :one
select coalesce((select epoch from cambio.deny_epoch where tenant = sqlc.arg(tenant)::text), 0)::bigint as epoch;

-- name: RenewLease :execrows
update cambio.leases set expires = sqlc.arg(fresh)
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and state = 1 and expires = sqlc.arg(old) and expires > clock_timestamp();

-- name: CorrectLease :execrows
update cambio.leases set expires = sqlc.arg(fresh)
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and expires = sqlc.arg(old);

-- name: LeaseTenants :many
-- Those that have leases, by leaps through the index.
with recursive found as (
	(select l.tenant from cambio.leases l order by l.tenant limit 1)
	union all
	select (select l.tenant from cambio.leases l where l.tenant > f.tenant order by l.tenant limit 1)
	from found f where f.tenant is not null
)
select f.tenant::text as tenant from found f where f.tenant is not null;

-- name: PruneLeases :execrows
-- Forgets leases that ended long ago. Several may do so at once.
delete from cambio.leases l
using (
	select p.tenant, p.id from cambio.leases p
	where p.tenant = sqlc.arg(tenant) and p.expires < now() - sqlc.arg(keep)::interval
	order by p.expires, p.id limit sqlc.arg(most) for update skip locked
) gone
where l.tenant = gone.tenant and l.id = gone.id;
