-- name: DenyOf :one
select id, epoch, match, reason, created, expires, removed from denies where tenant = ? and id = ?;

-- name: ListDenies :many
-- Newest first, by the epoch that each began.
select id, epoch, match, reason, created, expires, removed from denies
where tenant = sqlc.arg(tenant) and epoch < sqlc.arg(below)
  and (cast(sqlc.arg(ended) as integer) = 1
       or removed is null and (expires is null or expires > cast(unixepoch('subsec') * 1000000 as integer)))
order by epoch desc limit sqlc.arg(most);

-- name: Unsettled :many
-- A tenant's intents without an outcome, oldest first, due or not.
select e.id, e.exchange, e.tenant, e.at, cast(coalesce(e.deadline, e.at) as integer) as deadline, e.record
from unsettled u join events e on e.tenant = u.tenant and e.exchange = u.exchange and e.id = u.event
where u.tenant = sqlc.arg(tenant) and u.exchange > sqlc.arg(after)
order by u.exchange limit sqlc.arg(most);
