// Command cambio is the server and the operator's commands.
//
// Exit status: 0 done, 1 refused or at fault, 2 wrong usage, 3 the server or its
// database cannot be reached. The result goes to standard output, everything
// else to standard error.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}
