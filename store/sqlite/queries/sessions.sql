-- name: HoldSession :exec
insert into sessions (tenant, id, exchange, target, subject, sealed, expires)
values (sqlc.arg(tenant), sqlc.arg(id), sqlc.arg(exchange), sqlc.arg(target), sqlc.arg(subject), sqlc.arg(sealed), sqlc.arg(expires));

-- name: SessionOf :one
select exchange, target, subject, sealed, expires from sessions
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and expires > cast(unixepoch('subsec') * 1000000 as integer);

-- name: ReplaceSession :execrows
update sessions set sealed = sqlc.arg(fresh), expires = sqlc.arg(expires)
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and sealed = sqlc.arg(old)
  and sessions.expires > cast(unixepoch('subsec') * 1000000 as integer);

-- name: EndSession :exec
delete from sessions where tenant = sqlc.arg(tenant) and id = sqlc.arg(id);

-- name: PruneSessions :execrows
delete from sessions where (tenant, id) in (
  select s.tenant, s.id from sessions s where s.expires <= cast(unixepoch('subsec') * 1000000 as integer)
  order by s.expires limit sqlc.arg(most)
);

-- name: ListSealedSessions :many
-- Sessions by their key, after the one named, which were sealed otherwise.
select tenant, id, sealed from sessions
where (tenant, id) > (cast(sqlc.arg(tenant) as text), cast(sqlc.arg(id) as blob))
  and substr(sealed, 1, length(cast(sqlc.arg(header) as blob))) <> cast(sqlc.arg(header) as blob)
order by tenant, id limit sqlc.arg(most);

-- name: ReplaceSessionSeal :execrows
update sessions set sealed = sqlc.arg(fresh)
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and sealed = sqlc.arg(old);
