package main

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap grow to five times what is live before it is collected.
// A server's live heap is some tens of megabytes, so this costs little memory, and
// under load it gives a tenth of the processor back.
const gcPercent = 400

// memoryLimit is where the collector works harder again, in bytes: well above what
// a full load needs.
const memoryLimit = 512 << 20

// tuneMemory sets the collector for a server, save what the operator's environment
// says itself (GOGC, GOMEMLIMIT).
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
