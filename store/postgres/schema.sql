-- For sqlc, which reads it before the migrations: what the migration runner makes.
create schema cambio;
create table cambio.goose_db_version (id integer, version_id bigint not null, is_applied boolean not null, tstamp timestamp not null);
