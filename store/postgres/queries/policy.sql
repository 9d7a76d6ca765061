-- name: OrderRevisions :exec
select pg_advisory_xact_lock(sqlc.arg(key)::bigint);

-- name: RevisionOf :one
select seq from cambio.revisions where tenant = sqlc.arg(tenant) and hash = sqlc.arg(hash) order by seq desc limit 1;

-- name: AddRevision :one
insert into cambio.revisions (tenant, seq, hash, loaded)
select sqlc.arg(tenant)::text, coalesce(max(seq), 0) + 1, sqlc.arg(hash)::text, clock_timestamp()
from cambio.revisions where tenant = sqlc.arg(tenant)::text
returning seq;

-- name: NewestRevision :one
select r.seq, r.hash, r.loaded, clock_timestamp()::timestamptz as now
from cambio.revisions r where r.tenant = sqlc.arg(tenant) order by r.seq desc limit 1;

-- name: Clock :one
select clock_timestamp()::timestamptz as now;

-- name: ActiveDenies :many
-- The epoch and the denies of one snapshot: one row with no id where there is no
-- deny.
select coalesce((select epoch from cambio.deny_epoch where tenant = sqlc.arg(tenant)::text), 0)::bigint as current,
	d.id, d.epoch, d.match, d.reason, d.created, d.expires
from (select 1) as always
left join cambio.denies d
	on d.tenant = sqlc.arg(tenant)::text and d.removed is null and (d.expires is null or d.expires > clock_timestamp())
order by d.epoch;

-- name: DenyEpochOf :one
select epoch from cambio.denies where tenant = sqlc.arg(tenant) and id = sqlc.arg(id);

-- name: RaiseEpoch :one
insert into cambio.deny_epoch (tenant, epoch) values (sqlc.arg(tenant), 1)
on conflict (tenant) do update set epoch = deny_epoch.epoch + 1
returning epoch;

-- name: AddDeny :exec
insert into cambio.denies (tenant, id, epoch, match, reason, created, expires)
values (sqlc.arg(tenant), sqlc.arg(id), sqlc.arg(epoch), sqlc.arg(match), sqlc.arg(reason), sqlc.arg(created), sqlc.narg(expires));

-- name: RemoveDeny :execrows
update cambio.denies set removed = clock_timestamp()
where tenant = sqlc.arg(tenant) and id = sqlc.arg(id) and removed is null
	and (expires is null or expires > clock_timestamp());

-- name: InsertEvent :execrows
-- One event of administration, in the transaction of what it tells of.
insert into cambio.events (id, exchange, tenant, type, at, record)
values (sqlc.arg(id), sqlc.arg(exchange), sqlc.arg(tenant), sqlc.arg(type), sqlc.arg(at), sqlc.arg(record))
on conflict do nothing;
