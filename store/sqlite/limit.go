package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// full is what a connection can do here.
type full interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// hurried is a connection whose queries have so much time.
type hurried struct {
	full
	limit time.Duration
}

// QueryContext begins a query.
func (c hurried) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return within(ctx, c.limit, func(ctx context.Context) (driver.Rows, error) { return c.full.QueryContext(ctx, query, args) })
}

// PrepareContext prepares a query: one of many rows is answered whole.
func (c hurried) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if name, _, _ := strings.Cut(query, "\n"); strings.HasSuffix(name, " :many") {
		query = whole(query)
	}
	s, err := c.full.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	prepared, ok := s.(statement)
	if !ok {
		return nil, fmt.Errorf("a statement of %T takes no context", s)
	}
	return hurriedStatement{prepared, c.limit}, nil
}

type statement interface {
	driver.Stmt
	driver.StmtQueryContext
}

type hurriedStatement struct {
	statement
	limit time.Duration
}

// QueryContext begins the query.
func (s hurriedStatement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return within(ctx, s.limit, func(ctx context.Context) (driver.Rows, error) { return s.statement.QueryContext(ctx, args) })
}

// within begins a query, which is the driver's work up to the first row: only that
// can be interrupted, and what takes time is to be in it.
func within(ctx context.Context, limit time.Duration, begin func(context.Context) (driver.Rows, error)) (driver.Rows, error) {
	hurry, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	rows, err := begin(hurry)
	if err != nil && hurry.Err() != nil && ctx.Err() == nil {
		return nil, exchange.Fault(exchange.KindUnavailable, "the search took too long: narrow it by time, subject or target", err)
	}
	return rows, err
}

// whole is the query whose answer is complete before its first row, in the same
// order: otherwise the search for each further row could be as long as the first.
func whole(query string) string {
	return "with answer as materialized (\n" + query + "\n) select * from answer"
}
