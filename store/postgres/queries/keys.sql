-- name: ListKeys :many
select purpose, kid, algorithm, sealed, publish_at, sign_at, retire_at
from cambio.keys order by seq;

-- name: NewestKey :one
select kid from cambio.keys where purpose = sqlc.arg(purpose) order by seq desc limit 1;

-- name: OwnKeys :exec
-- One addition at a time, so that two replicas do not both follow the same key.
select pg_advisory_xact_lock(sqlc.arg(key)::bigint);

-- name: AddKey :execrows
insert into cambio.keys (purpose, kid, algorithm, sealed, publish_at, sign_at, retire_at)
values (sqlc.arg(purpose), sqlc.arg(kid), sqlc.arg(algorithm), sqlc.arg(sealed), sqlc.arg(publish_at), sqlc.arg(sign_at), sqlc.narg(retire_at))
on conflict do nothing;

-- name: RetireKey :exec
delete from cambio.keys where purpose = sqlc.arg(purpose) and kid = sqlc.arg(kid);
