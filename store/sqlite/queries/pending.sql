-- name: Pending :many
-- Intents without an outcome whose deadline has passed twice over (S27).
select e.id, e.exchange, e.tenant, e.at, cast(coalesce(e.deadline, e.at) as integer) as deadline, e.record
from unsettled u join events e on e.tenant = u.tenant and e.exchange = u.exchange and e.id = u.event
where u.due < cast(unixepoch('subsec') * 1000000 as integer)
order by u.due, e.seq
limit ?;

-- name: EventsOf :many
select id, exchange, tenant, type, at, record from events where tenant = ? and exchange = ? order by at, seq;
