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
