-- name: Standing :one
-- A lease with all that decides whether its credential still stands: the record of
-- the exchange that minted it, how many leases of its lineage are active or simply
-- over, and the tenant's deny epoch.
select l.id, l.exchange, l.target, l.provider, l.subject, l.rule, l.handle, l.sealed, l.issued, l.expires, l.state,
	l.actor, l.lineage, l.latest, l.origin, l.revoked, e.record,
	(coalesce(cardinality(l.lineage), 0) <> (
		select count(*) from cambio.leases a where a.tenant = l.tenant and a.id = any(l.lineage) and a.state <> 2
	))::boolean as orphaned,
	coalesce((select d.epoch from cambio.deny_epoch d where d.tenant = l.tenant), 0)::bigint as epoch
from cambio.leases l
left join cambio.events e
	on e.tenant = l.tenant and e.exchange = l.exchange and e.slot = '00000000-0000-0000-0000-000000000002'
where l.tenant = sqlc.arg(tenant) and l.id = sqlc.arg(id);
