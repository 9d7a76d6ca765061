package azure_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/azure"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

func ExampleNewCredential() {
	server := standin.Start() // in real life: https://cambio.example
	defer server.Close()
	server.Serve("azure-openai", (&entra{}).target(openai, time.Hour))

	client, err := cambio.New(server.URL(), cambio.Static(cambio.NewSecret(server.Subject()), "")) // in a pod: cambio.File(cambio.DefaultTokenFile)
	if err != nil {
		log.Fatal(err)
	}
	// For any client of azure-sdk-for-go.
	credential := azure.NewCredential(client.TokenSource(cambio.Request{Audience: "azure-openai"}))

	token, err := credential.GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{"https://cognitiveservices.azure.com/.default"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(time.Until(token.ExpiresOn).Round(time.Hour))
	// Output: 1h0m0s
}
