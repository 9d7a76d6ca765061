-- name: OpenIntents :exec
-- Notes the intents that were written just now, with the moment from which the
-- reaper may act: twice the deadline (S27).
insert into cambio.open_intents (tenant, exchange, due)
select e.tenant, e.exchange, e.at + 2 * (coalesce(e.deadline, e.at) - e.at)
from (select unnest(sqlc.arg(tenants)::text[]) as tenant, unnest(sqlc.arg(exchanges)::uuid[]) as exchange, unnest(sqlc.arg(ids)::uuid[]) as id) b
join cambio.events e
	on e.tenant = b.tenant and e.exchange = b.exchange and e.slot = '00000000-0000-0000-0000-000000000001' and e.id = b.id
on conflict do nothing;

-- name: CloseIntents :execrows
-- Forgets due intents that have their outcome.
delete from cambio.open_intents o
using (
	select d.tenant, d.exchange from cambio.open_intents d
	where d.due < clock_timestamp() and exists (
		select 1 from cambio.events e
		where e.tenant = d.tenant and e.exchange = d.exchange and e.slot = '00000000-0000-0000-0000-000000000002'
	)
	order by d.due limit sqlc.arg(most)
	for update skip locked
) settled
where o.tenant = settled.tenant and o.exchange = settled.exchange;

-- name: Pending :many
select i.id, i.exchange, i.tenant, i.at, i.deadline, i.record
from cambio.open_intents o
join cambio.events i
	on i.tenant = o.tenant and i.exchange = o.exchange and i.slot = '00000000-0000-0000-0000-000000000001'
where o.due < clock_timestamp() and not exists (
	select 1 from cambio.events e
	where e.tenant = o.tenant and e.exchange = o.exchange and e.slot = '00000000-0000-0000-0000-000000000002'
)
order by i.at, i.exchange
limit sqlc.arg(most);

-- name: Get :many
select id, exchange, tenant, type, at, record
from cambio.events
where tenant = sqlc.arg(tenant) and exchange = sqlc.arg(of_exchange)
order by at, tx, id;
