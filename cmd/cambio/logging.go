package main

import (
	"io"
	"log/slog"

	"github.com/cambio-sts/cambio/cmd/cambio/config"
	"github.com/cambio-sts/cambio/server"
)

// newLogger writes the process's log, each line with the facts of its request.
func newLogger(w io.Writer, c config.Log) *slog.Logger {
	level := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[c.Level]
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewJSONHandler(w, options)
	if c.Format == "text" {
		handler = slog.NewTextHandler(w, options)
	}
	return slog.New(server.NewLogHandler(handler))
}
