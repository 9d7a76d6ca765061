-- name: ShareEpoch :exec
-- What an append takes before it looks at the deny epoch, and a deny takes whole
-- (S31). Held until the transaction ends.
select pg_advisory_xact_lock_shared(sqlc.arg(key)::bigint);

-- name: OwnEpoch :exec
select pg_advisory_xact_lock(sqlc.arg(key)::bigint);

-- name: HoldLeases :exec
-- Keeps the leases that entries rely on from being revoked until the transaction
-- ends. Those that are being revoked are waited for: what follows sees them revoked.
-- Each row is looked for by itself, in the order of the key, because a join could be
-- turned into a scan of the whole table.
select 1
from (select distinct unnest(sqlc.arg(tenants)::text[]) as tenant, unnest(sqlc.arg(ids)::uuid[]) as id order by 1, 2) h
cross join lateral (
	select 1 from cambio.leases l where l.tenant = h.tenant and l.id = h.id and l.state = 1 for share
) held;

-- name: Burn :exec
-- Burns single-use values (S13) for the exchanges whose epoch is current and whose
-- leases stand. An exchange that has burnt its value before changes nothing.
insert into cambio.used (tenant, realm, hash, exchange, expires)
select b.tenant, b.realm, b.hash, b.exchange, b.expires
from (
	select
		unnest(sqlc.arg(tenants)::text[]) as tenant, unnest(sqlc.arg(realms)::text[]) as realm,
		unnest(sqlc.arg(hashes)::bytea[]) as hash, unnest(sqlc.arg(exchanges)::uuid[]) as exchange,
		unnest(sqlc.arg(expiries)::timestamptz[]) as expires, unnest(sqlc.arg(epochs)::bigint[]) as epoch,
		unnest(sqlc.arg(relies)::text[]) as relies
) b
left join cambio.deny_epoch d on d.tenant = b.tenant
where (b.epoch = -1 or b.epoch = coalesce(d.epoch, 0))
	and (b.relies is null or not exists (
		select 1 from unnest(b.relies::uuid[]) r(id)
		where (
			select l.state = 1 and l.expires > clock_timestamp() from cambio.leases l where l.tenant = b.tenant and l.id = r.id
		) is not true))
on conflict do nothing;

-- name: Append :many
-- Writes events, and the leases that come with them. Returns the ids of the events
-- it wrote (the others are stale, used or fallen, or a row stands in their place) and
-- the epoch of each tenant asked about that ever had a deny.
-- Deadlines, realms, hashes and what few rows have may be left out whole: the
-- shorter of unnested arrays are filled with nulls. Lineages and what rows rely on come
-- as text, since arrays of arrays do not unnest row by row. Who burnt a value and what
-- a lease is are asked by scalar subqueries because those are never turned into a hash
-- of the whole table.
with written as (
	insert into cambio.events (
		id, exchange, tenant, type, at, deadline, record,
		subject_fact, actor_fact, target_fact, client_ip_fact, credential_fact, handle_fact
	)
	select
		b.id, b.exchange, b.tenant, b.type, b.at, b.deadline, b.record,
		b.subject_fact, b.actor_fact, b.target_fact, b.client_ip_fact, b.credential_fact, b.handle_fact
	from (
		select
			unnest(sqlc.arg(ids)::uuid[]) as id, unnest(sqlc.arg(exchanges)::uuid[]) as exchange,
			unnest(sqlc.arg(tenants)::text[]) as tenant, unnest(sqlc.arg(types)::smallint[]) as type,
			unnest(sqlc.arg(ats)::timestamptz[]) as at, unnest(sqlc.arg(deadlines)::timestamptz[]) as deadline,
			unnest(sqlc.arg(records)::json[]) as record, unnest(sqlc.arg(epochs)::bigint[]) as epoch,
			unnest(sqlc.arg(realms)::text[]) as realm, unnest(sqlc.arg(hashes)::bytea[]) as hash,
			unnest(sqlc.arg(relies)::text[]) as relies,
			unnest(sqlc.arg(subject_facts)::bigint[]) as subject_fact, unnest(sqlc.arg(actor_facts)::bigint[]) as actor_fact,
			unnest(sqlc.arg(target_facts)::bigint[]) as target_fact, unnest(sqlc.arg(client_ip_facts)::bigint[]) as client_ip_fact,
			unnest(sqlc.arg(credential_facts)::bigint[]) as credential_fact, unnest(sqlc.arg(handle_facts)::bigint[]) as handle_fact
	) b
	left join cambio.deny_epoch d on d.tenant = b.tenant
	where (b.epoch = -1 or b.epoch = coalesce(d.epoch, 0))
		and (b.realm is null or b.exchange = (
			select u.exchange from cambio.used u
			where u.tenant = b.tenant and u.realm = b.realm and u.hash = b.hash))
		and (b.relies is null or not exists (
			select 1 from unnest(b.relies::uuid[]) r(id)
			where (
				select l.state = 1 and l.expires > clock_timestamp() from cambio.leases l where l.tenant = b.tenant and l.id = r.id
			) is not true))
	on conflict do nothing
	returning id
), leased as (
	insert into cambio.leases (tenant, id, exchange, target, provider, subject, rule, handle, sealed, issued, expires, state, actor, lineage, latest, origin)
	select l.tenant, l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
		l.actor, l.lineage::uuid[], l.latest, l.origin
	from (
		select
			unnest(sqlc.arg(lease_events)::uuid[]) as event,
			unnest(sqlc.arg(lease_tenants)::text[]) as tenant, unnest(sqlc.arg(lease_ids)::uuid[]) as id,
			unnest(sqlc.arg(lease_exchanges)::uuid[]) as exchange, unnest(sqlc.arg(lease_targets)::text[]) as target,
			unnest(sqlc.arg(lease_providers)::text[]) as provider, unnest(sqlc.arg(lease_subjects)::text[]) as subject,
			unnest(sqlc.arg(lease_rules)::text[]) as rule, unnest(sqlc.arg(lease_handles)::text[]) as handle,
			unnest(sqlc.arg(lease_sealed)::bytea[]) as sealed, unnest(sqlc.arg(lease_issued)::timestamptz[]) as issued,
			unnest(sqlc.arg(lease_expires)::timestamptz[]) as expires, unnest(sqlc.arg(lease_states)::smallint[]) as state,
			unnest(sqlc.arg(lease_actors)::text[]) as actor, unnest(sqlc.arg(lease_lineages)::text[]) as lineage,
			unnest(sqlc.arg(lease_latests)::timestamptz[]) as latest, unnest(sqlc.arg(lease_origins)::bytea[]) as origin
	) l
	join written on written.id = l.event
	on conflict do nothing
)
select id::uuid as event, null::text as tenant, 0::bigint as epoch from written
union all
select null::uuid, d.tenant, d.epoch from cambio.deny_epoch d where d.tenant = any(sqlc.arg(asked)::text[]);

-- name: PruneUsed :execrows
-- What expired an hour ago cannot come again: its token is refused before.
delete from cambio.used u
using (
	select tenant, realm, hash from cambio.used
	where expires < now() - interval '1 hour' order by expires limit sqlc.arg(most) for update skip locked
) gone
where u.tenant = gone.tenant and u.realm = gone.realm and u.hash = gone.hash;

-- name: Explain :many
-- What stands where these entries would: an event with these very bytes, or
-- another; whether their single-use values were burnt by another exchange; and the
-- first lease that they rely on and that stands no more.
select
	b.place::integer as place,
	(e.id is not null)::boolean as occupied,
	coalesce(e.id = b.id and e.record::text = b.record, false)::boolean as same,
	coalesce(b.exchange <> (
		select u.exchange from cambio.used u
		where u.tenant = b.tenant and u.realm = b.realm and u.hash = b.hash), false)::boolean as used,
	coalesce((
		select r.id from unnest(b.relies::uuid[]) with ordinality r(id, place)
		where (
			select l.state = 1 and l.expires > clock_timestamp() from cambio.leases l where l.tenant = b.tenant and l.id = r.id
		) is not true
		order by r.place limit 1
	), '00000000-0000-0000-0000-000000000000')::uuid as fallen
from (
	select
		unnest(sqlc.arg(places)::integer[]) as place, unnest(sqlc.arg(ids)::uuid[]) as id,
		unnest(sqlc.arg(exchanges)::uuid[]) as exchange, unnest(sqlc.arg(tenants)::text[]) as tenant,
		unnest(sqlc.arg(slots)::uuid[]) as slot, unnest(sqlc.arg(records)::text[]) as record,
		unnest(sqlc.arg(realms)::text[]) as realm, unnest(sqlc.arg(hashes)::bytea[]) as hash,
		unnest(sqlc.arg(relies)::text[]) as relies
) b
left join lateral (
	select f.id, f.record from cambio.events f
	where f.tenant = b.tenant and f.exchange = b.exchange and f.slot = b.slot
	limit 1
) e on true;
