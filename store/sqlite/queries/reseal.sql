-- name: ReplaceSealed :execrows
update keys set sealed = sqlc.arg(fresh)
where tenant = 'default' and purpose = sqlc.arg(purpose) and kid = sqlc.arg(kid) and sealed = sqlc.arg(old);

-- name: ListSealed :many
-- Leases by their key, after the one named, something sealed of which begins
-- otherwise.
select tenant, id, sealed, origin from leases
where (tenant, id) > (cast(sqlc.arg(tenant) as text), cast(sqlc.arg(id) as blob)) and (
  length(sealed) > 0 and substr(sealed, 1, length(cast(sqlc.arg(header) as blob))) <> cast(sqlc.arg(header) as blob)
  or length(origin) > 0 and substr(origin, 1, length(cast(sqlc.arg(header) as blob))) <> cast(sqlc.arg(header) as blob))
order by tenant, id limit sqlc.arg(most);

-- name: ReplaceSeal :execrows
-- What has nothing fresh stays.
update leases set sealed = coalesce(sqlc.narg(fresh), sealed), origin = coalesce(sqlc.narg(fresh_origin), origin)
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and sealed is sqlc.narg(old) and origin is sqlc.narg(old_origin);
