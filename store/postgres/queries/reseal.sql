-- name: ReplaceSealed :execrows
update cambio.keys set sealed = sqlc.arg(fresh)
where purpose = sqlc.arg(purpose) and kid = sqlc.arg(kid) and sealed = sqlc.arg(old);

-- name: ListSealed :many
-- Leases by their key, after the one named, something sealed of which begins
-- otherwise.
select tenant, id, sealed, origin from cambio.leases
where (tenant, id) > (sqlc.arg(tenant)::text, sqlc.arg(id)::uuid) and (
	octet_length(sealed) > 0 and substring(sealed from 1 for octet_length(sqlc.arg(header)::bytea)) <> sqlc.arg(header)::bytea
	or octet_length(origin) > 0 and substring(origin from 1 for octet_length(sqlc.arg(header)::bytea)) <> sqlc.arg(header)::bytea)
order by tenant, id limit sqlc.arg(most);

-- name: OwnLeases :exec
-- Takes the rows that ReplaceSeals is about to change in the order of the key, as
-- appends hold those that they rely on: an update by itself takes them in the order
-- in which its join meets them. Each is looked for by itself for the same reason.
select 1
from (select distinct unnest(sqlc.arg(tenants)::text[]) as tenant, unnest(sqlc.arg(ids)::uuid[]) as id order by 1, 2) h
cross join lateral (
	select 1 from cambio.leases l where l.tenant = h.tenant and l.id = h.id for no key update
) owned;

-- name: ReplaceSeals :execrows
-- What has nothing fresh stays.
update cambio.leases l set sealed = coalesce(b.fresh, l.sealed), origin = coalesce(b.fresh_origin, l.origin)
from (
	select
		unnest(sqlc.arg(tenants)::text[]) as tenant, unnest(sqlc.arg(ids)::uuid[]) as id,
		unnest(sqlc.arg(olds)::bytea[]) as old, unnest(sqlc.arg(freshs)::bytea[]) as fresh,
		unnest(sqlc.arg(old_origins)::bytea[]) as old_origin, unnest(sqlc.arg(fresh_origins)::bytea[]) as fresh_origin
) b
where l.tenant = b.tenant and l.id = b.id
	and l.sealed is not distinct from b.old and l.origin is not distinct from b.old_origin;
