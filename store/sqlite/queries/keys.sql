-- name: ListKeys :many
select purpose, kid, algorithm, sealed, publish_at, sign_at, retire_at from keys where tenant = 'default' order by seq;

-- name: AddKey :execrows
-- Only while the newest key of the purpose is still the one named; empty: none.
insert into keys (tenant, purpose, kid, algorithm, sealed, publish_at, sign_at, retire_at)
select 'default', sqlc.arg(purpose), sqlc.arg(kid), sqlc.arg(algorithm), sqlc.arg(sealed), sqlc.arg(publish_at), sqlc.arg(sign_at), sqlc.narg(retire_at)
where coalesce((select k.kid from keys k where k.tenant = 'default' and k.purpose = sqlc.arg(purpose) order by k.seq desc limit 1), '') = sqlc.arg(after)
on conflict (tenant, purpose, kid) do nothing;

-- name: RetireKey :exec
delete from keys where tenant = 'default' and purpose = ? and kid = ?;
