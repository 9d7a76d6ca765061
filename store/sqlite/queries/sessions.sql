-- name: HoldSession :exec
insert into sessions (tenant, id, exchange, target, subject, sealed, expires)
values (sqlc.arg(tenant), sqlc.arg(id), sqlc.arg(exchange), sqlc.arg(target), sqlc.arg(subject), sqlc.arg(sealed), sqlc.arg(expires));

-- name: SessionOf :one
select exchange, target, subject, sealed, expires from sessions
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and expires > cast(unixepoch('subsec') * 1000000 as integer);

-- name: EndSession :exec
delete from sessions where tenant = sqlc.arg(tenant) and id = sqlc.arg(id);

-- name: PruneSessions :execrows
delete from sessions where (tenant, id) in (
  select s.tenant, s.id from sessions s where s.expires <= cast(unixepoch('subsec') * 1000000 as integer)
  order by s.expires limit sqlc.arg(most)
);
