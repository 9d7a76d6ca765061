-- name: RevisionOf :one
select seq from revisions where tenant = ? and hash = ? order by seq desc limit 1;

-- name: AddRevision :one
insert into revisions (tenant, seq, hash, loaded)
select sqlc.arg(tenant), coalesce(max(seq), 0) + 1, sqlc.arg(hash), cast(unixepoch('subsec') * 1000000 as integer)
from revisions where tenant = sqlc.arg(tenant)
returning seq;

-- name: NewestRevision :one
select seq, hash, loaded, cast(unixepoch('subsec') * 1000000 as integer) as now
from revisions where tenant = ? order by seq desc limit 1;

-- name: Clock :one
select cast(unixepoch('subsec') * 1000000 as integer) as now;

-- name: ActiveDenies :many
select id, epoch, match, reason, created, expires from denies
where tenant = ? and removed is null and (expires is null or expires > cast(unixepoch('subsec') * 1000000 as integer))
order by epoch;

-- name: DenyEpochOf :one
select epoch from denies where tenant = ? and id = ?;

-- name: RaiseEpoch :one
insert into deny_epoch (tenant, epoch) values (?, 1)
on conflict (tenant) do update set epoch = epoch + 1
returning epoch;

-- name: AddDeny :exec
insert into denies (tenant, id, epoch, match, reason, created, expires) values (?, ?, ?, ?, ?, ?, ?);

-- name: RemoveDeny :execrows
update denies set removed = cast(unixepoch('subsec') * 1000000 as integer)
where tenant = ? and id = ? and removed is null
  and (expires is null or expires > cast(unixepoch('subsec') * 1000000 as integer));
