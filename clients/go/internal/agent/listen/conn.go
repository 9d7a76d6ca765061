package listen

import (
	"context"
	"net"
)

type connKey struct{}

// WithConn is for http.Server.ConnContext: handlers see whom they speak to.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// Conn is the connection that a request came by; nil where there is none.
func Conn(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}
