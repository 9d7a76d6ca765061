-- name: HoldSession :exec
insert into cambio.sessions (tenant, id, exchange, target, subject, sealed, expires)
values (sqlc.arg(tenant), sqlc.arg(id), sqlc.arg(exchange), sqlc.arg(target), sqlc.arg(subject), sqlc.arg(sealed), sqlc.arg(expires));

-- name: SessionOf :one
select exchange, target, subject, sealed, expires from cambio.sessions
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and expires > now();

-- name: ReplaceSession :execrows
update cambio.sessions set sealed = sqlc.arg(fresh), expires = sqlc.arg(expires)
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and sealed = sqlc.arg(old) and expires > clock_timestamp();

-- name: EndSession :exec
delete from cambio.sessions where tenant = sqlc.arg(tenant) and id = sqlc.arg(id);

-- name: PruneSessions :execrows
-- Forgets sessions that have expired. What another changes at the moment is left to a
-- later turn, so that nobody waits in a circle with this.
with gone as materialized (
	select s.tenant, s.id from cambio.sessions s where s.expires <= now()
	order by s.expires limit sqlc.arg(most) for update skip locked
)
delete from cambio.sessions s using gone where s.tenant = gone.tenant and s.id = gone.id;

-- name: ListSealedSessions :many
-- Sessions by their key, after the one named, which were sealed otherwise.
select tenant, id, sealed from cambio.sessions
where (tenant, id) > (sqlc.arg(tenant)::text, sqlc.arg(id)::uuid)
	and substring(sealed from 1 for octet_length(sqlc.arg(header)::bytea)) <> sqlc.arg(header)::bytea
order by tenant, id limit sqlc.arg(most);

-- name: OwnSessions :exec
-- Takes the rows that ReplaceSessionSeals is about to change, one by one, in the order
-- of the key: an update by itself takes them in the order in which its join meets them.
select 1
from (select distinct unnest(sqlc.arg(tenants)::text[]) as tenant, unnest(sqlc.arg(ids)::uuid[]) as id order by 1, 2) h
cross join lateral (
	select 1 from cambio.sessions s where s.tenant = h.tenant and s.id = h.id for no key update
) owned;

-- name: ReplaceSessionSeals :execrows
update cambio.sessions s set sealed = b.fresh
from (
	select
		unnest(sqlc.arg(tenants)::text[]) as tenant, unnest(sqlc.arg(ids)::uuid[]) as id,
		unnest(sqlc.arg(olds)::bytea[]) as old, unnest(sqlc.arg(freshs)::bytea[]) as fresh
) b
where s.tenant = b.tenant and s.id = b.id and s.sealed = b.old;
