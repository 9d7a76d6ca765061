-- name: DenyOf :one
select id, epoch, match, reason, created, expires, removed
from cambio.denies where tenant = sqlc.arg(tenant) and id = sqlc.arg(id);

-- name: ListDenies :many
-- Newest first, by the epoch that each began.
select id, epoch, match, reason, created, expires, removed
from cambio.denies
where tenant = sqlc.arg(tenant) and epoch < sqlc.arg(below)::bigint
	and (sqlc.arg(ended)::boolean or removed is null and (expires is null or expires > clock_timestamp()))
order by epoch desc limit sqlc.arg(most);

-- name: TellOfDenies :exec
-- Heard when the transaction commits.
select pg_notify('cambio_denies', sqlc.arg(tenant)::text);

-- name: ListenForDenies :exec
listen cambio_denies;

-- name: Outstanding :many
-- Leases that are active and not expired, the first to expire first, with the
-- records of the exchanges that minted them.
select l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
	l.actor, l.lineage, l.latest, l.origin, e.record
from cambio.leases l
left join cambio.events e
	on e.tenant = l.tenant and e.exchange = l.exchange and e.slot = '00000000-0000-0000-0000-000000000002'
where l.tenant = sqlc.arg(tenant) and l.state = 1 and l.expires > clock_timestamp()
	and (l.expires, l.id) > (sqlc.arg(after_expires)::timestamptz, sqlc.arg(after_id)::uuid)
	and (sqlc.arg(subject)::text = '' or l.subject = sqlc.arg(subject)::text)
	and (sqlc.arg(target)::text = '' or l.target = sqlc.arg(target)::text)
	and (sqlc.arg(rule)::text = '' or l.rule = sqlc.arg(rule)::text)
order by l.expires, l.id limit sqlc.arg(most);

-- name: Unsettled :many
-- A tenant's intents without an outcome, oldest first, due or not.
select i.id, i.exchange, i.tenant, i.at, i.deadline, i.record
from cambio.open_intents o
join cambio.events i
	on i.tenant = o.tenant and i.exchange = o.exchange and i.slot = '00000000-0000-0000-0000-000000000001'
where o.tenant = sqlc.arg(tenant) and o.exchange > sqlc.arg(after)::uuid and not exists (
	select 1 from cambio.events e
	where e.tenant = o.tenant and e.exchange = o.exchange and e.slot = '00000000-0000-0000-0000-000000000002'
)
order by o.exchange
limit sqlc.arg(most);

-- name: RevokeLease :execrows
update cambio.leases set state = 2
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and state = 1;
