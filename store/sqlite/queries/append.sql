-- name: InsertEvent :exec
insert into events (id, exchange, tenant, type, at, deadline, record) values (?, ?, ?, ?, ?, ?, ?);

-- name: RecordOf :one
select record from events where tenant = ? and exchange = ? and id = ?;

-- name: TypesOf :many
-- The intent and the outcome that an exchange has. (+type keeps the planner off the
-- partial indexes: two of them in one query were too much for it.)
select cast(type as integer) as type from events where tenant = ? and exchange = ? and +type between 1 and 5;

-- name: InsertLease :exec
insert into leases (tenant, id, exchange, target, provider, subject, rule, handle, sealed, issued, expires, state, actor, lineage, latest, origin)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: Burn :execrows
-- No row: it was burnt before. Burner says by whom.
insert into used (tenant, realm, hash, exchange, expires) values (?, ?, ?, ?, ?)
on conflict (tenant, realm, hash) do nothing;

-- name: Burner :one
select exchange from used where tenant = ? and realm = ? and hash = ?;

-- name: PruneUsed :exec
-- What has expired an hour ago can come no more: its token is refused first.
delete from used where (tenant, realm, hash) in (
  select u.tenant, u.realm, u.hash from used u
  where u.expires < cast(unixepoch('subsec') * 1000000 as integer) - 3600000000
  order by u.expires limit 1000
);

-- name: Epoch :one
select epoch from deny_epoch where tenant = ?;

-- name: Beat :exec
update heartbeat set at = cast(unixepoch('subsec') * 1000000 as integer), filler = sqlc.arg(filler) where id = 1;

-- name: DropLease :exec
-- Undoes InsertLease within the same transaction.
delete from leases where tenant = ? and id = ?;

-- name: Unburn :exec
-- Undoes Burn within the same transaction.
delete from used where tenant = ? and realm = ? and hash = ?;

-- name: Stands :one
select exists (
  select 1 from leases where tenant = ? and id = ? and state = 1 and expires > cast(unixepoch('subsec') * 1000000 as integer)
) as stands;
