-- name: Lease :one
select l.tenant, l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
  l.revoked, l.actor, l.lineage, l.latest, l.origin
from leases l where l.tenant = ? and l.id = ?;

-- name: LeaseWithRecord :one
select l.tenant, l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
  l.revoked, l.actor, l.lineage, l.latest, l.origin, coalesce(e.record, '') as record
from leases l
left join events e on e.tenant = l.tenant and e.exchange = l.exchange and e.type between 2 and 5
where l.tenant = ? and l.id = ?;

-- name: Outstanding :many
-- Leases that are active and not expired, the first to expire first, with the
-- records of the exchanges that minted them. (+expires keeps the planner to the other
-- bound, which does not pass by the expired.)
select l.tenant, l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
  l.revoked, l.actor, l.lineage, l.latest, l.origin, coalesce(e.record, '') as record
from leases l
left join events e on e.tenant = l.tenant and e.exchange = l.exchange and e.type between 2 and 5
where l.tenant = sqlc.arg(tenant) and l.state = 1 and +l.expires > cast(unixepoch('subsec') * 1000000 as integer)
  and l.expires >= max(cast(sqlc.arg(after_expires) as integer), cast(unixepoch('subsec') * 1000000 as integer))
  and (l.expires > sqlc.arg(after_expires) or l.id > sqlc.arg(after_id))
  and (cast(sqlc.arg(subject) as text) = '' or l.subject = cast(sqlc.arg(subject) as text))
  and (cast(sqlc.arg(target) as text) = '' or l.target = cast(sqlc.arg(target) as text))
  and (cast(sqlc.arg(rule) as text) = '' or l.rule = cast(sqlc.arg(rule) as text))
order by l.expires, l.id limit sqlc.arg(most);

-- name: Descendants :many
-- As Outstanding, of one lease and what descends from it. Only leases that descend from
-- any are looked at, in an index of their own.
select l.tenant, l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
  l.revoked, l.actor, l.lineage, l.latest, l.origin, coalesce(e.record, '') as record
from (
  select r.tenant, r.id from leases r where r.tenant = sqlc.arg(tenant) and r.id = sqlc.arg(root)
  union all
  select d.tenant, d.id from leases d indexed by leases_lineage
  where d.tenant = sqlc.arg(tenant) and d.lineage is not null and instr(d.lineage, cast(sqlc.arg(lineage) as text)) > 0
    and d.expires >= max(cast(sqlc.arg(after_expires) as integer), cast(unixepoch('subsec') * 1000000 as integer))
) f
join leases l on l.tenant = f.tenant and l.id = f.id
left join events e on e.tenant = l.tenant and e.exchange = l.exchange and e.type between 2 and 5
where l.state = 1 and l.expires > cast(unixepoch('subsec') * 1000000 as integer)
  and l.expires >= sqlc.arg(after_expires) and (l.expires > sqlc.arg(after_expires) or l.id > sqlc.arg(after_id))
  and (cast(sqlc.arg(subject) as text) = '' or l.subject = cast(sqlc.arg(subject) as text))
  and (cast(sqlc.arg(target) as text) = '' or l.target = cast(sqlc.arg(target) as text))
  and (cast(sqlc.arg(rule) as text) = '' or l.rule = cast(sqlc.arg(rule) as text))
order by l.expires, l.id limit sqlc.arg(most);

-- name: ListLeases :many
-- The last to expire first.
select l.tenant, l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
  l.revoked, l.actor, l.lineage, l.latest, l.origin
from leases l
where l.tenant = sqlc.arg(tenant) and l.expires > sqlc.arg(expires_after)
  and (cast(sqlc.arg(ended) as integer) = 1 or l.state = 1 and l.expires > cast(unixepoch('subsec') * 1000000 as integer))
  and l.expires <= sqlc.arg(below_expires)
  and (l.expires < sqlc.arg(below_expires) or l.id < sqlc.arg(below_id))
  and (cast(sqlc.arg(owner) as text) = '' or l.subject = cast(sqlc.arg(owner) as text) or l.actor = cast(sqlc.arg(owner) as text))
  and (cast(sqlc.arg(subject) as text) = '' or l.subject = cast(sqlc.arg(subject) as text))
  and (cast(sqlc.arg(actor) as text) = '' or l.actor = cast(sqlc.arg(actor) as text))
  and (cast(sqlc.arg(target) as text) = '' or l.target = cast(sqlc.arg(target) as text))
  and (cast(sqlc.arg(provider) as text) = '' or l.provider = cast(sqlc.arg(provider) as text))
  and (cast(sqlc.arg(rule) as text) = '' or l.rule = cast(sqlc.arg(rule) as text))
order by l.expires desc, l.id desc limit sqlc.arg(most);

-- name: RevokeLease :execrows
update leases set state = 2, revoked = cast(unixepoch('subsec') * 1000000 as integer)
where tenant = ? and id = ? and state = 1 and expires > cast(unixepoch('subsec') * 1000000 as integer);

-- name: RenewLease :execrows
update leases set expires = sqlc.arg(fresh)
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and state = 1 and expires = sqlc.arg(old)
  and expires > cast(unixepoch('subsec') * 1000000 as integer);

-- name: CorrectLease :execrows
update leases set expires = sqlc.arg(fresh)
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and expires = sqlc.arg(old);

-- name: NextLeaseTenant :one
-- The first tenant after another that has leases.
select tenant from leases where tenant > ? order by tenant limit 1;

-- name: PruneLeases :execrows
-- Forgets leases that ended long ago.
delete from leases where (tenant, id) in (
  select p.tenant, p.id from leases p
  where p.tenant = sqlc.arg(tenant) and p.expires < cast(unixepoch('subsec') * 1000000 as integer) - cast(sqlc.arg(keep) as integer)
  order by p.expires limit sqlc.arg(most)
);
