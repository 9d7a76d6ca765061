package vault_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/hashicorp/vault/api"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
	"github.com/cambio-sts/cambio/clients/go/vault"
)

func ExampleReader() {
	server := standin.Start() // in real life: https://cambio.example
	defer server.Close()
	bank := newBank()
	vaultServer := bank.start()
	defer vaultServer.Close()
	server.Serve("app-db", bank.wrap(time.Hour))

	client, err := cambio.New(server.URL(), cambio.Static(cambio.NewSecret(server.Subject()), "")) // in a pod: cambio.File(cambio.DefaultTokenFile)
	if err != nil {
		log.Fatal(err)
	}
	config := api.DefaultConfig()
	config.Address = vaultServer.URL
	vaultClient, err := api.NewClient(config) // nil will do where the target wraps nothing
	if err != nil {
		log.Fatal(err)
	}
	reader := vault.NewReader(client.TokenSource(cambio.Request{Audience: "app-db"}), vaultClient)

	secret, err := reader.Read(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(secret.LeaseID, secret.Data["username"])
	// Output: database/creds/app/1 app
}
