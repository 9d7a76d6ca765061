package aws_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	cambio "github.com/cambio-sts/cambio/clients/go"
	cambioaws "github.com/cambio-sts/cambio/clients/go/aws"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

func ExampleNewCache() {
	server := standin.Start() // in real life: https://cambio.example
	defer server.Close()
	server.Serve("s3-reports", credentials(time.Hour))

	client, err := cambio.New(server.URL(), cambio.Static(cambio.NewSecret(server.Subject()), "")) // in a pod: cambio.File(cambio.DefaultTokenFile)
	if err != nil {
		log.Fatal(err)
	}
	source := client.TokenSource(cambio.Request{Audience: "s3-reports"})
	cfg, err := config.LoadDefaultConfig(context.Background(),
		config.WithRegion("eu-west-1"), config.WithCredentialsProvider(cambioaws.NewCache(source)))
	if err != nil {
		log.Fatal(err)
	}
	got, err := cfg.Credentials.Retrieve(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(got.Source, aws.ToString(&cfg.Region))
	// Output: Cambio eu-west-1
}
