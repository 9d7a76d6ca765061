// Package migrations carries the SQL that makes each engine's schema, numbered
// and applied in order by goose.
//
// A migration that has been released never changes. Code of the version before
// and of the version after each runs on the schema (an upgrade is a rolling
// restart), so columns come first and go last.
package migrations

import "embed"

// Postgres holds postgres/*.sql.
//
//go:embed postgres/*.sql
var Postgres embed.FS

// SQLite holds sqlite/*.sql.
//
//go:embed sqlite/*.sql
var SQLite embed.FS
