-- name: ReplaceSealed :execrows
update cambio.keys set sealed = sqlc.arg(fresh)
where purpose = sqlc.arg(purpose) and kid = sqlc.arg(kid) and sealed = sqlc.arg(old);

-- name: ListSealed :many
-- Leases by their key, after the one named, whose sealed part begins otherwise.
select tenant, id, sealed from cambio.leases
where (tenant, id) > (sqlc.arg(tenant)::text, sqlc.arg(id)::uuid) and octet_length(sealed) > 0
	and substring(sealed from 1 for octet_length(sqlc.arg(header)::bytea)) <> sqlc.arg(header)::bytea
order by tenant, id limit sqlc.arg(most);

-- name: ReplaceSeals :execrows
update cambio.leases l set sealed = b.fresh
from (
	select
		unnest(sqlc.arg(tenants)::text[]) as tenant, unnest(sqlc.arg(ids)::uuid[]) as id,
		unnest(sqlc.arg(olds)::bytea[]) as old, unnest(sqlc.arg(freshs)::bytea[]) as fresh
) b
where l.tenant = b.tenant and l.id = b.id and l.sealed = b.old;
