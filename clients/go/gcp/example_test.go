package gcp_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/gcp"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

func ExampleNewTokenSource() {
	server := standin.Start() // in real life: https://cambio.example
	defer server.Close()
	google := &google{}
	server.Serve("reports", google.target(time.Hour))
	storageServer := google.start()
	defer storageServer.Close()

	client, err := cambio.New(server.URL(), cambio.Static(cambio.NewSecret(server.Subject()), "")) // in a pod: cambio.File(cambio.DefaultTokenFile)
	if err != nil {
		log.Fatal(err)
	}
	source := client.TokenSource(cambio.Request{Audience: "reports"})
	service, err := storage.NewService(context.Background(),
		option.WithTokenSource(gcp.NewTokenSource(source)),
		option.WithEndpoint(storageServer.URL+"/")) // in real life: leave it out
	if err != nil {
		log.Fatal(err)
	}
	bucket, err := service.Buckets.Get("reports").Do()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(bucket.Name)
	// Output: reports
}
