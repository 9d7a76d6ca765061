-- The whole of the first schema. Everything lives in the schema "cambio", which
-- the migration runner creates, so that a database may be shared with others.
-- Tenant stands in every key and index (S22). Code of one version before and one
-- after runs on this schema: columns are named in every statement, never "*".

-- +goose Up

-- The ledger. `id` and `exchange` are UUIDs of version 7, so a range of `exchange`
-- is a range of time and a partition is a month. `record` is json and not jsonb:
-- jsonb would rewrite the bytes that are hashed. `tx` orders rows by transaction,
-- which a serial column does not (S33): rows below the oldest running transaction
-- are complete. The facts are hashes of members of the record, by which lists find
-- outcomes; whoever appends says them, since reading them out of the record here took
-- a sixth of what an append costs. They only find: a list compares the member, too.
create table cambio.events (
	id uuid not null,
	exchange uuid not null,
	tenant text collate "C" not null,
	type smallint not null,
	at timestamptz not null,
	deadline timestamptz,
	tx xid8 not null default pg_current_xact_id(),
	record json not null,
	subject_fact bigint,
	actor_fact bigint,
	target_fact bigint,
	client_ip_fact bigint,
	credential_fact bigint,
	handle_fact bigint,
	-- One intent and one terminal outcome in each exchange (S27); any other event
	-- once. One index holds all three rules, answers "is this event there already"
	-- (S29), and gives the order of lists.
	slot uuid not null generated always as (
		case
			when type = 1 then '00000000-0000-0000-0000-000000000001'::uuid
			when type between 2 and 5 then '00000000-0000-0000-0000-000000000002'::uuid
			else id
		end
	) stored,
	primary key (tenant, exchange, slot),
	-- One check and not four: each is parsed anew by every statement.
	check (tenant <> '' and octet_length(tenant) <= 128 and type between 1 and 99 and (deadline is null or type = 1))
) partition by range (exchange);

-- What lists are filtered by, each in the order of lists: a page reads as many
-- entries as it has rows, however many there are. Every append pays for each, so
-- fields with few values (trust, provider) have none, nor has the rule, which a target
-- or a subject narrows. The hash comes before the tenant, which compares as text: an
-- insert into so many trees feels that.
create index events_subject on cambio.events (subject_fact, tenant, exchange) where subject_fact is not null;
create index events_target on cambio.events (target_fact, tenant, exchange) where target_fact is not null;
create index events_client_ip on cambio.events (client_ip_fact, tenant, exchange) where client_ip_fact is not null;
create index events_credential on cambio.events (credential_fact, tenant, exchange) where credential_fact is not null;
create index events_handle on cambio.events (handle_fact, tenant, exchange) where handle_fact is not null;
-- Most subjects act for themselves, and what was refused or went wrong is rare:
-- nearly free. The time is for outcomes that come long after their exchange began.
create index events_actor on cambio.events (actor_fact, tenant, exchange) where actor_fact is not null;
create index events_unissued on cambio.events (tenant, type, exchange, at) where type between 3 and 5;
-- What operators, auditors and the house did: no exchange's event is in it.
create index events_deeds on cambio.events (tenant, id) where type >= 10;
-- The order in which rows became durable: for whoever fills `leaves` or `counts`,
-- and for tails.
create index events_tx on cambio.events (tx);

-- +goose StatementBegin
create function cambio.refuse_change() returns trigger language plpgsql as $$
begin
	raise exception 'the ledger is append-only: % of % is refused', tg_op, tg_table_name
		using errcode = 'insufficient_privilege';
end
$$;
-- +goose StatementEnd

-- Row triggers are cloned to partitions, statement triggers are not: those are set
-- on every partition by make_partitions.
create trigger append_only before update or delete on cambio.events
	for each row execute function cambio.refuse_change();
create trigger append_only_truncate before truncate on cambio.events
	for each statement execute function cambio.refuse_change();

-- Rows that no month takes: ids from a clock far off. Watched: a row here is an alarm.
create table cambio.events_default partition of cambio.events default;
create trigger append_only_truncate before truncate on cambio.events_default
	for each statement execute function cambio.refuse_change();

-- The smallest UUID of version 7 of a moment, without version and variant bits.
-- +goose StatementBegin
create function cambio.uuid_floor(moment timestamptz) returns uuid
language sql immutable strict parallel safe as $$
	select (lpad(to_hex((extract(epoch from moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
-- +goose StatementEnd

-- Makes the partitions of this month and of `ahead` months after it, attaches the
-- ones that were detached, and says up to when there are some (S28). The service may call it, though it has no DDL: it
-- runs with the owner's rights and makes nothing but these.
-- +goose StatementBegin
create function cambio.make_partitions(ahead integer) returns timestamptz
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set lock_timeout = '3s'
as $$
declare
	month timestamptz := date_trunc('month', now());
	last timestamptz := month + make_interval(months => least(greatest(ahead, 0), 12));
	name text;
begin
	-- One at a time; released with the transaction.
	perform pg_advisory_xact_lock(7165064744911531014);
	while month <= last loop
		name := 'events_' || to_char(month, 'YYYY_MM');
		if to_regclass('cambio.' || name) is null then
			-- Made apart and then attached: that locks the ledger for nobody who
			-- appends to another month.
			execute format('create table cambio.%I (like cambio.events including all)', name);
			execute format(
				'create trigger append_only_truncate before truncate on cambio.%I '
				'for each statement execute function cambio.refuse_change()', name);
		end if;
		-- A month that somebody detached has its name still, and takes nothing: its
		-- events would go astray.
		if not exists (
			select 1 from pg_inherits
			where inhparent = 'cambio.events'::regclass and inhrelid = to_regclass('cambio.' || name)
		) then
			execute format('alter table cambio.%I drop constraint if exists %I', name, name || '_month');
			execute format(
				'alter table cambio.%I add constraint %I check (exchange >= %L and exchange < %L)',
				name, name || '_month', cambio.uuid_floor(month), cambio.uuid_floor(month + interval '1 month'));
			-- What the default partition took meanwhile, or from a clock far off, moves
			-- with its bytes, or else the month could never be attached. Where both
			-- hold an outcome of one exchange, this fails: a person has to look.
			if exists (
				select 1 from cambio.events_default
				where exchange >= cambio.uuid_floor(month) and exchange < cambio.uuid_floor(month + interval '1 month')
			) then
				lock table cambio.events_default in access exclusive mode;
				execute format(
					'insert into cambio.%I (id, exchange, tenant, type, at, deadline, tx, record, '
					'subject_fact, actor_fact, target_fact, client_ip_fact, credential_fact, handle_fact) '
					'select id, exchange, tenant, type, at, deadline, tx, record, '
					'subject_fact, actor_fact, target_fact, client_ip_fact, credential_fact, handle_fact from cambio.events_default '
					'where exchange >= %L and exchange < %L',
					name, cambio.uuid_floor(month), cambio.uuid_floor(month + interval '1 month'));
				alter table cambio.events_default disable trigger append_only;
				delete from cambio.events_default
				where exchange >= cambio.uuid_floor(month) and exchange < cambio.uuid_floor(month + interval '1 month');
				alter table cambio.events_default enable trigger append_only;
			end if;
			execute format(
				'alter table cambio.events attach partition cambio.%I for values from (%L) to (%L)',
				name, cambio.uuid_floor(month), cambio.uuid_floor(month + interval '1 month'));
			execute format('alter table cambio.%I drop constraint %I', name, name || '_month');
		end if;
		month := month + interval '1 month';
	end loop;
	return month;
end
$$;
-- +goose StatementEnd
revoke all on function cambio.make_partitions(integer) from public;

-- Terminal outcomes for people who ask in SQL.
create view cambio.exchanges as
select
	exchange, tenant, type, at,
	record->>'outcome' as outcome,
	record->>'error_kind' as error_kind,
	record->>'subject' as subject,
	record->>'actor' as actor,
	record->>'client' as client,
	record->>'target' as target,
	record->>'provider' as provider,
	record->>'rule' as rule,
	record->>'revision' as revision,
	record->>'lease' as lease,
	record->>'credential' as credential,
	record->>'handle' as handle,
	id, record
from cambio.events
where type between 2 and 5;

-- Intents whose outcome nobody has looked for yet, so that finding the abandoned
-- ones does not mean walking the ledger. A row comes with its intent and goes when
-- it is found settled.
create table cambio.open_intents (
	tenant text collate "C" not null,
	exchange uuid not null,
	due timestamptz not null,
	primary key (tenant, exchange)
);
create index open_intents_due on cambio.open_intents (due);

-- How many outcomes of which kind, for summaries: counted from the ledger behind
-- its back, and no part of it. Grain 1 is hours without the subject, 2 hours with
-- it, 3 days (UTC) with it: a month by subject reads days and the hours at its
-- ends. The digest stands in the key for texts that an index may be too small for.
create table cambio.counts (
	tenant text collate "C" not null,
	grain smallint not null check (grain between 1 and 3),
	start timestamptz not null,
	type smallint not null,
	digest bytea not null check (octet_length(digest) = 32),
	subject text collate "C" not null,
	target text collate "C" not null,
	rule text collate "C" not null,
	n bigint not null,
	primary key (tenant, grain, start, type, digest)
);

-- Rows of transactions before this one are in the counts, all others are not.
-- Whoever adds to the counts holds this row.
create table cambio.rolled (
	one boolean primary key default true check (one),
	tx xid8 not null
);
insert into cambio.rolled (tx) values ('0');

-- The leaves of the Merkle tree, dense from zero in each tenant (S33).
create table cambio.leaves (
	tenant text collate "C" not null,
	idx bigint not null check (idx >= 0),
	exchange uuid not null,
	event uuid not null,
	tx xid8 not null,
	hash bytea not null check (octet_length(hash) = 32),
	primary key (tenant, idx),
	unique (tenant, event)
);
create trigger append_only before update or delete on cambio.leaves
	for each row execute function cambio.refuse_change();
create trigger append_only_truncate before truncate on cambio.leaves
	for each statement execute function cambio.refuse_change();

create table cambio.leases (
	tenant text collate "C" not null,
	id uuid not null,
	exchange uuid not null,
	target text not null,
	provider text not null,
	subject text not null,
	rule text not null,
	handle text not null,
	sealed bytea,
	issued timestamptz not null,
	expires timestamptz not null,
	state smallint not null check (state between 1 and 3),
	revoked timestamptz, -- null: it was not
	actor text, -- who holds it for the subject; null: the subject
	lineage uuid[], -- leases of the tokens it descends from, oldest first; null: none
	latest timestamptz, -- no renewal goes past it; null: expires
	origin bytea, -- for whom a token of ours was issued, sealed; null: it may not come back
	primary key (tenant, id)
);

-- What descends from a token of ours.
create index leases_lineage on cambio.leases using gin (lineage) where lineage is not null;

-- What is out, and what is to be forgotten, the first to expire first.
create index leases_expiry on cambio.leases (tenant, expires, id);

create table cambio.deny_epoch (
	tenant text collate "C" primary key,
	epoch bigint not null check (epoch > 0)
);

create table cambio.denies (
	tenant text collate "C" not null,
	id uuid not null,
	epoch bigint not null,
	match json not null,
	reason text not null,
	created timestamptz not null,
	expires timestamptz,
	removed timestamptz,
	primary key (tenant, id),
	unique (tenant, epoch)
);

-- Single-use values (S13). The exchange that burnt one may burn it again: with its
-- intent, with its outcome, on a second try.
create table cambio.used (
	tenant text collate "C" not null,
	realm text collate "C" not null,
	hash bytea not null check (octet_length(hash) = 32),
	exchange uuid not null,
	expires timestamptz not null,
	primary key (tenant, realm, hash)
);
create index used_expires on cambio.used (expires);

create table cambio.revisions (
	tenant text collate "C" not null,
	seq bigint not null check (seq > 0),
	hash text collate "C" not null,
	loaded timestamptz not null default now(),
	primary key (tenant, seq)
);
create index revisions_hash on cambio.revisions (tenant, hash, seq); -- a hash may have several places

-- Signing keys, both halves sealed (S4). One issuer serves every tenant, so there
-- is no tenant here.
create table cambio.keys (
	purpose text collate "C" not null,
	kid text collate "C" not null,
	algorithm text not null,
	sealed bytea not null,
	publish_at timestamptz not null,
	sign_at timestamptz not null,
	retire_at timestamptz,
	seq bigint generated always as identity,
	primary key (purpose, kid)
);

-- Signing sessions that Cambio holds for callers, each sealed as one snapshot (S25). The
-- id is the lease's.
create table cambio.sessions (
	tenant text collate "C" not null,
	id uuid not null,
	exchange uuid not null,
	target text not null,
	subject text not null,
	sealed bytea not null,
	expires timestamptz not null,
	primary key (tenant, id)
);
create index sessions_expiry on cambio.sessions (tenant, expires);

-- +goose Down
drop table cambio.sessions, cambio.keys, cambio.revisions, cambio.used, cambio.denies, cambio.deny_epoch,
	cambio.leases, cambio.leaves, cambio.open_intents, cambio.counts, cambio.rolled;
drop view cambio.exchanges;
drop table cambio.events;
drop function cambio.make_partitions(integer), cambio.uuid_floor(timestamptz), cambio.refuse_change();
