-- name: DenyOf :one
select id, epoch, match, reason, created, expires, removed from denies where tenant = ? and id = ?;

-- name: ListDenies :many
-- Newest first, by the epoch that each began.
select id, epoch, match, reason, created, expires, removed from denies
where tenant = sqlc.arg(tenant) and epoch < sqlc.arg(below)
  and (cast(sqlc.arg(ended) as integer) = 1
       or removed is null and (expires is null or expires > cast(unixepoch('subsec') * 1000000 as integer)))
order by epoch desc limit sqlc.arg(most);

-- name: Outstanding :many
-- Leases that are active and not expired, the first to expire first, with the
-- records of the exchanges that minted them.
select l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
  l.actor, l.lineage, l.latest, l.origin,
  coalesce(e.record, '') as record
from leases l
left join events e on e.tenant = l.tenant and e.exchange = l.exchange and e.type between 2 and 5
where l.tenant = sqlc.arg(tenant) and l.state = 1 and l.expires > cast(unixepoch('subsec') * 1000000 as integer)
  and l.expires >= sqlc.arg(after_expires)
  and (l.expires > sqlc.arg(after_expires) or l.id > sqlc.arg(after_id))
  and (cast(sqlc.arg(subject) as text) = '' or l.subject = cast(sqlc.arg(subject) as text))
  and (cast(sqlc.arg(target) as text) = '' or l.target = cast(sqlc.arg(target) as text))
  and (cast(sqlc.arg(rule) as text) = '' or l.rule = cast(sqlc.arg(rule) as text))
order by l.expires, l.id limit sqlc.arg(most);

-- name: Unsettled :many
-- A tenant's intents without an outcome, oldest first, due or not.
select e.id, e.exchange, e.tenant, e.at, cast(coalesce(e.deadline, e.at) as integer) as deadline, e.record
from unsettled u join events e on e.tenant = u.tenant and e.exchange = u.exchange and e.id = u.event
where u.tenant = sqlc.arg(tenant) and u.exchange > sqlc.arg(after)
order by u.exchange limit sqlc.arg(most);

-- name: RevokeLease :execrows
update leases set state = 2 where tenant = ? and id = ? and state = 1;
