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
