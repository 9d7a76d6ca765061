package oci_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"time"

	"github.com/oracle/oci-go-sdk/v65/objectstorage"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
	"github.com/cambio-sts/cambio/clients/go/oci"
)

func ExampleSession_Provider() {
	server := standin.Start() // in real life: https://cambio.example
	defer server.Close()
	oracle := newOracle(server.Clock)
	defer oracle.server.Close()
	server.Serve("reports", bound(oracle, time.Hour))

	client, err := cambio.New(server.URL(), cambio.Static(cambio.NewSecret(server.Subject()), "")) // in a pod: cambio.File(cambio.DefaultTokenFile)
	if err != nil {
		log.Fatal(err)
	}
	key, err := oci.NewKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	session, err := oci.NewSession(client, cambio.Request{Audience: "reports"}, key)
	if err != nil {
		log.Fatal(err)
	}
	storage, err := objectstorage.NewObjectStorageClientWithConfigurationProvider(session.Provider())
	if err != nil {
		log.Fatal(err)
	}
	storage.Host = oracle.server.URL // in real life the region's, by itself
	namespace, err := storage.GetNamespace(context.Background(), objectstorage.GetNamespaceRequest{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*namespace.Value)
	// Output: namespace
}
