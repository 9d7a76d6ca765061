package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cambio-sts/cambio/exchange"
	codes "modernc.org/sqlite/lib"
)

// misconfigured is a fault of KindMisconfigured that a program meets when it starts: its
// text is for the operator, and so is the advice alone.
type misconfigured struct{ fault *exchange.Error }

func advice(cause error, format string, values ...any) error {
	return misconfigured{exchange.Fault(exchange.KindMisconfigured, fmt.Sprintf(format, values...), cause)}
}

// Error is the advice.
func (m misconfigured) Error() string { return m.fault.Advice }

// Unwrap gives the fault.
func (m misconfigured) Unwrap() error { return m.fault }

// Advise is err, which somebody met who opened the file at path, as an error that says
// what to change, where that is known. Open and Migrate have done so.
func Advise(path string, err error) error {
	if errors.As(err, &misconfigured{}) {
		return err
	}
	switch code(err) {
	case codes.SQLITE_BUSY:
		return advice(errors.Join(ErrInUse, err),
			"another program has %s open and locked: close it there, or name another file as store.sqlite.path", path)
	case codes.SQLITE_NOTADB:
		return advice(err, "%s is no SQLite database: name another file as store.sqlite.path, or move this one away and run `cambio migrate`", path)
	case codes.SQLITE_CORRUPT:
		return advice(err, "%s is damaged: restore it from a backup", path)
	case codes.SQLITE_CANTOPEN, codes.SQLITE_READONLY, codes.SQLITE_PERM:
		return advice(err, "%s cannot be opened: store.sqlite.path must be a file that this user may write to, in such a folder", path)
	}
	var file *fs.PathError
	if errors.As(err, &file) && !errors.Is(err, syscall.ENOSPC) {
		return advice(err, "%s cannot be made (%v): store.sqlite.path must be a file that this user may write to, in such a folder", file.Path, file.Err)
	}
	return err
}
