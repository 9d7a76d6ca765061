package main

import (
	"context"
	"os"
	"strings"

	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/common/auth"
	"github.com/oracle/oci-go-sdk/v65/objectstorage"
)

// ociFiles is a resource principal of version 2.2, whose key and token are in files.
func ociFiles(ctx context.Context) (string, error) {
	provider, err := auth.ResourcePrincipalConfigurationProvider()
	if err != nil {
		return "", err
	}
	return namespace(ctx, provider)
}

// ociOKE is workload identity of OKE. A pod's token is where Kubernetes mounts it; here
// it is in the file that SERVICE_ACCOUNT_TOKEN_FILE names.
func ociOKE(ctx context.Context) (string, error) {
	token, err := os.ReadFile(os.Getenv("SERVICE_ACCOUNT_TOKEN_FILE"))
	if err != nil {
		return "", err
	}
	provider, err := auth.OkeWorkloadIdentityConfigurationProviderWithServiceAccountTokenProvider(
		auth.NewSuppliedServiceAccountTokenProvider(strings.TrimSpace(string(token))))
	if err != nil {
		return "", err
	}
	return namespace(ctx, provider)
}

// namespace is the name of Object Storage's namespace, which the stand-in gives after
// who asks. (The package of generative AI is younger than what is to be shown here.)
func namespace(ctx context.Context, provider common.ConfigurationProvider) (string, error) {
	client, err := objectstorage.NewObjectStorageClientWithConfigurationProvider(provider)
	if err != nil {
		return "", err
	}
	client.Host = os.Getenv("OCI_GENAI_ENDPOINT") // the stand-in has one address for all
	got, err := client.GetNamespace(ctx, objectstorage.GetNamespaceRequest{})
	if err != nil {
		return "", err
	}
	return *got.Value, nil
}
