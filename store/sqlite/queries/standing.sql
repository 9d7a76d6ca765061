-- name: Standing :one
-- A lease with the record of the exchange that minted it and the tenant's deny
-- epoch. What became of the leases in its lineage is asked by StateOf.
select l.tenant, l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
  l.revoked, l.actor, l.lineage, l.latest, l.origin, coalesce(e.record, '') as record,
  cast(coalesce((select d.epoch from deny_epoch d where d.tenant = l.tenant), 0) as integer) as epoch
from leases l
left join events e on e.tenant = l.tenant and e.exchange = l.exchange and e.type between 2 and 5
where l.tenant = sqlc.arg(tenant) and l.id = sqlc.arg(id);

-- name: StateOf :one
select state from leases where tenant = ? and id = ?;
