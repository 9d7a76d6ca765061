package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// The exit statuses, on which scripts rely.
const (
	statusDone        = 0
	statusFault       = 1 // refused, denied, or something is wrong
	statusUsage       = 2
	statusUnreachable = 3
)

// failure is an error with its exit status. One without that comes out of a command is a
// fault, or a server that cannot be reached; one that cobra makes is wrong usage.
type failure struct {
	status int
	err    error // nil: everything has been said already
}

func (f *failure) Error() string {
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// usage says that the command line is wrong.
func usage(format string, args ...any) error {
	return &failure{status: statusUsage, err: fmt.Errorf(format, args...)}
}

// statusOf is the exit status for what a command line came to, after the error
// has been printed.
func statusOf(err error, stderr io.Writer) int {
	if err == nil {
		return statusDone
	}
	var known *failure
	status := statusUsage
	if errors.As(err, &known) {
		status = known.status
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(stderr, "cambio-agent: %s\n", text)
	}
	if status == statusUsage {
		fmt.Fprintln(stderr, "Run the command with --help to see how it is used.")
	}
	return status
}

// asFailure gives a command's error a status, if it has none.
func asFailure(err error) error {
	var known *failure
	if err == nil || errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return &failure{status: statusFault, err: errors.New("interrupted")}
	}
	var refused *cambio.Error
	if errors.As(err, &refused) && refused.Code == cambio.CodeUnreachable {
		return &failure{status: statusUnreachable, err: err}
	}
	return &failure{status: statusFault, err: err}
}
