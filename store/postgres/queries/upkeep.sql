-- name: MakePartitions :one
select cambio.make_partitions(sqlc.arg(ahead)::integer)::timestamptz as through;

-- name: Connection :one
-- What a connection must be, to keep what it acknowledges (S30).
select
	current_setting('synchronous_commit')::text as synchronous_commit,
	current_setting('fsync')::text as fsync,
	current_setting('full_page_writes')::text as full_page_writes,
	current_setting('server_version_num')::integer as version;

-- name: SchemaExists :one
select coalesce(has_schema_privilege(to_regnamespace('cambio')::oid, 'usage') and to_regclass('cambio.goose_db_version') is not null, false)::boolean as found;

-- name: SchemaVersion :one
select coalesce(max(version_id), 0)::bigint as version from cambio.goose_db_version where is_applied;

-- name: Role :one
-- What this session could do to the ledger (S34): as the role it is, and as the
-- role it logged in as, which "reset role" brings back. An administrator who may
-- make roles can make himself a member of the owner.
select
	current_user::text as name,
	coalesce(bool_or(r.rolsuper), false)::boolean as superuser,
	coalesce(bool_or(r.rolcreaterole), false)::boolean as makes_roles,
	coalesce(bool_or(pg_has_role(r.oid, t.relowner, 'member')), false)::boolean as owner,
	coalesce(bool_or(
		pg_has_role(r.oid, 'pg_write_server_files'::regrole, 'member')
		or pg_has_role(r.oid, 'pg_execute_server_program'::regrole, 'member')
	), false)::boolean as files,
	coalesce(bool_or(
		has_table_privilege(r.oid, t.oid, 'update, delete, truncate, trigger')
		or has_any_column_privilege(r.oid, t.oid, 'update')
	), false)::boolean as changes,
	coalesce(bool_and(
		has_table_privilege(r.oid, 'cambio.events'::regclass, 'insert') and has_table_privilege(r.oid, 'cambio.events'::regclass, 'select')
	), false)::boolean as appends
from pg_catalog.pg_roles r
cross join (
	select c.oid, c.relowner from pg_catalog.pg_class c where c.oid in ('cambio.events'::regclass, 'cambio.leaves'::regclass)
	union all
	select c.oid, c.relowner from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid where i.inhparent = 'cambio.events'::regclass
) t
where r.rolname in (current_user, session_user);

-- name: State :one
select
	pg_is_in_recovery()::boolean as standby,
	(current_setting('transaction_read_only') = 'on')::boolean as read_only,
	exists (
		select 1 from pg_catalog.pg_inherits i where i.inhparent = 'cambio.events'::regclass and not i.inhdetachpending
			and i.inhrelid = to_regclass('cambio.events_' || to_char(now() at time zone 'UTC', 'YYYY_MM'))
	)::boolean as this_month,
	exists (
		select 1 from pg_catalog.pg_inherits i where i.inhparent = 'cambio.events'::regclass and not i.inhdetachpending
			and i.inhrelid = to_regclass('cambio.events_' || to_char((now() at time zone 'UTC') + interval '1 month', 'YYYY_MM'))
	)::boolean as next_month;

-- name: Stray :one
-- How many rows the default partition holds; no more than a few are counted.
select count(*) as stray from (select 1 from cambio.events_default limit sqlc.arg(most)) few;
