-- The first schema. Times are Unix microseconds; ids are the 16 bytes of a UUID.
-- The tenant stands in every key and index (S22). The same tables as for
-- Postgres, unpartitioned; the rowid (seq) is the order of the commits.

-- +goose Up
create table events (
  seq      integer primary key,
  id       blob    not null check (length(id) = 16),
  exchange blob    not null check (length(exchange) = 16), -- the event's own id where there is no exchange
  tenant   text    not null check (tenant <> ''),
  type     integer not null check (type between 1 and 999),
  at       integer not null,
  deadline integer check (deadline is null or type = 1),
  record   text    not null check (json_valid(record)) -- canonical JSON; these bytes are what the tree hashes
) strict;

create unique index events_id on events (tenant, exchange, id);
-- One intent and one terminal outcome (S27). The second also serves the lists,
-- which go by exchange, newest first.
create unique index events_intent on events (tenant, exchange) where type = 1;
create unique index events_outcome on events (tenant, exchange) where type between 2 and 5;
-- What operators, auditors and the house did: no exchange's event is in it.
create index events_deeds on events (tenant, id) where type >= 10;

-- What filters compare comes out of the record itself, so that the two cannot be
-- changed apart: the view exchanges names it, and what is asked for most, among
-- many values, has an index on the same expression. (Generated columns would do
-- the same, but SQLite computes all of them, twice, at each insert: half the
-- rate.) What the record leaves out is the empty text.
create index events_subject on events (tenant, coalesce(json_extract(record, '$.subject'), ''), exchange)
  where type between 2 and 5;
create index events_credential on events (tenant, coalesce(json_extract(record, '$.credential'), ''), exchange)
  where type between 2 and 5;

-- The ledger only grows (S34). INSERT OR REPLACE fires neither of the first two
-- triggers on a connection without recursive_triggers: the third refuses it
-- before it begins, for each key by which a row could be replaced.
-- +goose StatementBegin
create trigger events_no_update before update on events begin
  select raise(abort, 'the ledger is append-only: no update');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger events_no_delete before delete on events begin
  select raise(abort, 'the ledger is append-only: no delete');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger events_no_replace before insert on events begin
  select raise(abort, 'the ledger is append-only: the event is there already')
  where exists (select 1 from events where seq = new.seq)
     or exists (select 1 from events where tenant = new.tenant and exchange = new.exchange
                and (id = new.id or (+type = 1 and new.type = 1) or (+type between 2 and 5 and new.type between 2 and 5)));
end;
-- +goose StatementEnd

-- The intents that have no outcome yet, kept by the database itself, so that the
-- reaper need not search the whole ledger. due is twice the deadline (S27).
create table unsettled (
  tenant   text    not null,
  exchange blob    not null,
  event    blob    not null,
  due      integer not null,
  primary key (tenant, exchange)
) strict, without rowid;
create index unsettled_due on unsettled (due);
-- +goose StatementBegin
create trigger events_unsettled after insert on events when new.type = 1 begin
  insert into unsettled (tenant, exchange, event, due)
  select new.tenant, new.exchange, new.id, new.at + 2 * (coalesce(new.deadline, new.at) - new.at)
  where not exists (
    select 1 from events where tenant = new.tenant and exchange = new.exchange and type between 2 and 5);
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger events_settled after insert on events when new.type between 2 and 5 begin
  delete from unsettled where tenant = new.tenant and exchange = new.exchange;
end;
-- +goose StatementEnd

create view exchanges as
select seq, id, exchange, tenant, type, at, record,
  lower(substr(hex(exchange), 1, 8) || '-' || substr(hex(exchange), 9, 4) || '-' || substr(hex(exchange), 13, 4) || '-' ||
    substr(hex(exchange), 17, 4) || '-' || substr(hex(exchange), 21)) as exchange_text,
  coalesce(json_extract(record, '$.subject'), '') as subject,
  coalesce(json_extract(record, '$.actor'), '') as actor,
  coalesce(json_extract(record, '$.trust'), '') as trust,
  coalesce(json_extract(record, '$.client'), '') as client,
  coalesce(json_extract(record, '$.target'), '') as target,
  coalesce(json_extract(record, '$.provider'), '') as provider,
  coalesce(json_extract(record, '$.outcome'), '') as outcome,
  coalesce(json_extract(record, '$.error_kind'), '') as error_kind,
  coalesce(json_extract(record, '$.rule'), '') as rule,
  coalesce(json_extract(record, '$.revision'), '') as revision,
  coalesce(json_extract(record, '$.client_ip'), '') as client_ip,
  coalesce(json_extract(record, '$.credential'), '') as credential,
  coalesce(json_extract(record, '$.handle'), '') as handle,
  coalesce(json_extract(record, '$.reason'), '') as reason
from events where type between 2 and 5;

-- How many outcomes of which kind, for summaries: counted from the ledger behind
-- its back, and no part of it. Grain 1 is hours without the subject, 2 hours with
-- it, 3 days (UTC) with it. start is in Unix microseconds.
create table counts (
  tenant  text    not null,
  grain   integer not null check (grain between 1 and 3),
  start   integer not null,
  type    integer not null,
  subject text    not null,
  target  text    not null,
  rule    text    not null,
  n       integer not null,
  primary key (tenant, grain, start, type, subject, target, rule)
) strict, without rowid;

-- Rows up to this one are in the counts, all others are not.
create table rolled (
  one integer primary key check (one = 1),
  seq integer not null
) strict;
insert into rolled (one, seq) values (1, 0);

-- The leaves of the Merkle tree: dense and append-only (S33). They outlive the
-- events they hash, so nothing refers.
create table leaves (
  tenant text    not null,
  idx    integer not null check (idx >= 0),
  event  blob    not null check (length(event) = 16),
  hash   blob    not null check (length(hash) = 32),
  primary key (tenant, idx)
) strict, without rowid;
create unique index leaves_event on leaves (tenant, event);
-- +goose StatementBegin
create trigger leaves_no_update before update on leaves begin
  select raise(abort, 'the tree is append-only: no update');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger leaves_no_delete before delete on leaves begin
  select raise(abort, 'the tree is append-only: no delete');
end;
-- +goose StatementEnd
-- +goose StatementBegin
create trigger leaves_no_replace before insert on leaves begin
  select raise(abort, 'the tree is append-only: the leaf is there already')
  where exists (select 1 from leaves where tenant = new.tenant and (idx = new.idx or event = new.event));
end;
-- +goose StatementEnd

create table leases (
  tenant   text    not null,
  id       blob    not null check (length(id) = 16),
  exchange blob    not null check (length(exchange) = 16), -- that minted it
  target   text    not null,
  provider text    not null,
  subject  text    not null,
  rule     text    not null,
  handle   text    not null,
  sealed   blob, -- what revokes it; null: nothing does
  issued   integer not null,
  expires  integer not null,
  state    integer not null check (state between 1 and 3),
  revoked  integer, -- null: it was not
  actor    text,    -- who holds it for the subject; null: the subject
  lineage  text,    -- leases of the tokens it descends from, oldest first, a space after each; null: none
  latest   integer, -- no renewal goes past it; null: expires
  origin   blob,    -- for whom a token of ours was issued, sealed; null: it may not come back
  primary key (tenant, id)
) strict, without rowid;
create index leases_lineage on leases (tenant, expires) where lineage is not null;
create index leases_expiry on leases (tenant, expires);

-- Single-use values (S13). The exchange that burnt one may do so again.
create table used (
  tenant   text    not null,
  realm    text    not null,
  hash     blob    not null check (length(hash) = 32),
  exchange blob    not null check (length(exchange) = 16),
  expires  integer not null,
  primary key (tenant, realm, hash)
) strict, without rowid;
create index used_expiry on used (expires);

-- The epoch rises with each deny added or removed (S31).
create table deny_epoch (
  tenant text    not null primary key,
  epoch  integer not null check (epoch > 0)
) strict, without rowid;

create table denies (
  tenant  text    not null,
  id      blob    not null check (length(id) = 16),
  epoch   integer not null,
  match   text    not null check (json_valid(match)),
  reason  text    not null,
  created integer not null,
  expires integer,
  removed integer,
  primary key (tenant, id),
  unique (tenant, epoch)
) strict, without rowid;

create table revisions (
  tenant text    not null,
  seq    integer not null check (seq > 0),
  hash   text    not null check (hash <> ''),
  loaded integer not null,
  primary key (tenant, seq)
) strict, without rowid;
create index revisions_hash on revisions (tenant, hash, seq); -- a hash may have several places

-- Signing keys, sealed (S4); seq is the order in which they came.
create table keys (
  seq        integer primary key,
  tenant     text    not null default 'default',
  purpose    text    not null,
  kid        text    not null,
  algorithm  text    not null,
  sealed     blob    not null,
  publish_at integer not null,
  sign_at    integer not null,
  retire_at  integer,
  unique (tenant, purpose, kid)
) strict;

-- Signing sessions held for a caller (S25): key and token in one sealed snapshot. The
-- id is the lease's.
create table sessions (
  tenant   text    not null,
  id       blob    not null check (length(id) = 16),
  exchange blob    not null check (length(exchange) = 16),
  target   text    not null,
  subject  text    not null,
  sealed   blob    not null,
  expires  integer not null,
  primary key (tenant, id)
) strict, without rowid;
create index sessions_expiry on sessions (tenant, expires);

-- One row that a health check writes, to know that writing works.
create table heartbeat (
  id     integer primary key check (id = 1),
  at     integer not null,
  filler blob
) strict;
insert into heartbeat (id, at) values (1, 0);

-- +goose Down
-- The ledger is not undone: restore a backup to go back. This fails on purpose.
select no_way_back;
