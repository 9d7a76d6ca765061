package mcp_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
	cambiomcp "github.com/cambio-sts/cambio/clients/go/mcp"
)

func ExampleNewTransport() {
	server := standin.Start() // in real life: https://cambio.example
	defer server.Close()
	wiki := &wiki{}
	server.Serve("wiki", wiki.target(time.Hour))
	site := wiki.start("pages.read")
	defer site.Close()

	client, err := cambio.New(server.URL(), cambio.Static(cambio.NewSecret(server.Subject()), "")) // in a pod: cambio.File(cambio.DefaultTokenFile)
	if err != nil {
		log.Fatal(err)
	}
	transport, err := cambiomcp.NewTransport(site.URL+"/mcp", client.TokenSource(cambio.Request{Audience: "wiki"}))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "gateway", Version: "1"}, nil).Connect(ctx, transport, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	tools, err := session.ListTools(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tools.Tools[0].Name)
	// Output: read
}
