-- name: HoldSession :exec
insert into cambio.sessions (tenant, id, exchange, target, subject, sealed, expires)
values (sqlc.arg(tenant), sqlc.arg(id), sqlc.arg(exchange), sqlc.arg(target), sqlc.arg(subject), sqlc.arg(sealed), sqlc.arg(expires));

-- name: SessionOf :one
select exchange, target, subject, sealed, expires from cambio.sessions
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and expires > now();

-- name: EndSession :exec
delete from cambio.sessions where tenant = sqlc.arg(tenant) and id = sqlc.arg(id);

-- name: PruneSessions :execrows
delete from cambio.sessions where (tenant, id) in (
	select s.tenant, s.id from cambio.sessions s where s.expires <= now() order by s.expires limit sqlc.arg(most)
);
