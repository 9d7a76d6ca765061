// Command gosdk is an MCP server and an MCP client made with the official Go SDK, for
// the tests beside it.
//
//	gosdk server streamable|sse RESOURCE ISSUER
//	gosdk client streamable|sse URL
//	gosdk provider URL < settings
//	gosdk metadata ISSUER
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/modelcontextprotocol/go-sdk/auth"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gosdk:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx := context.Background()
	switch {
	case len(args) == 4 && args[0] == "server":
		return serve(args[1], args[2], args[3])
	case len(args) == 3 && args[0] == "client":
		return obey(ctx, args[1], args[2], os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == "provider":
		return provide(ctx, args[1], os.Stdin, os.Stdout)
	case len(args) == 2 && args[0] == "metadata":
		return readMetadata(ctx, args[1])
	}
	return fmt.Errorf("it is called in none of the four ways")
}

// readMetadata reads an authorization server's metadata as the SDK's clients do.
func readMetadata(ctx context.Context, issuer string) error {
	m, err := auth.GetAuthServerMetadata(ctx, issuer, http.DefaultClient)
	switch {
	case err != nil:
		return err
	case m == nil || m.TokenEndpoint == "":
		return fmt.Errorf("%s has no metadata", issuer)
	}
	fmt.Println(m.Issuer)
	return nil
}
