package spiffe_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/spiffe"
)

func ExampleNew() {
	folder, err := os.MkdirTemp("", "spiffe")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	socket := filepath.Join(folder, "agent.sock") // in real life the agent's, or SPIFFE_ENDPOINT_SOCKET
	defer newAgent().serve(socket)()

	identity, err := spiffe.New("https://cambio.example", socket)
	if err != nil {
		log.Fatal(err)
	}
	defer identity.Close()
	client, err := cambio.New("https://cambio.example", identity)
	if err != nil {
		log.Fatal(err)
	}
	token, err := client.Identity().SubjectToken(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Type)
	// Output: urn:ietf:params:oauth:token-type:jwt
}
