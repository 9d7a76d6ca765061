package main

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/azure"
	"github.com/openai/openai-go/v3/option"
)

const (
	azidentityModule = "github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	cognitiveScope   = "https://cognitiveservices.azure.com/.default"
	azureAPI         = "2024-10-21"
)

// held is a token that was vended.
type held string

func (t held) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(10 * time.Minute)}, nil
}

func azureOpenAI(endpoint string, credential azcore.TokenCredential) openai.Client {
	return openai.NewClient(azure.WithEndpoint(endpoint, azureAPI), azure.WithTokenCredential(credential), option.WithMaxRetries(0))
}

func (w world) azure(ctx context.Context) {
	says := "You are the application " + w.Azure.Client + " of tenant " + w.Azure.Tenant + ", by an assertion of default:azure-openai"
	for _, kind := range []string{"chat", "chat, streaming"} {
		judge("azure", openaiModule, "Azure OpenAI "+kind, func() (string, error) {
			token, err := w.exchange("azure-openai")
			if err != nil {
				return "", err
			}
			return complete(ctx, azureOpenAI(w.Clouds["azure"], held(token)), kind != "chat")
		}, says)
	}

	// The library as the oracle of the authority.
	options := azcore.ClientOptions{
		Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: w.Sandbox["azure"]}, Retry: policy.RetryOptions{MaxRetries: -1},
	}
	by := func(file string) (azcore.TokenCredential, error) {
		return azidentity.NewClientAssertionCredential(w.Azure.Tenant, w.Azure.Client, func(context.Context) (string, error) { return read(file) },
			&azidentity.ClientAssertionCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	}
	judge("azure", azidentityModule, "ClientAssertionCredential, then chat", func() (string, error) {
		credential, err := by(w.assertion("azure"))
		if err != nil {
			return "", err
		}
		return complete(ctx, azureOpenAI(w.Sandbox["azure"], credential), false)
	}, says)
	judge("azure", azidentityModule, "WorkloadIdentityCredential, then chat", func() (string, error) {
		credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: true, ClientID: w.Azure.Client, TenantID: w.Azure.Tenant, TokenFilePath: w.assertion("azure"),
		})
		if err != nil {
			return "", err
		}
		return complete(ctx, azureOpenAI(w.Sandbox["azure"], credential), false)
	}, says)
	refusal("azure", azidentityModule, "a subject that no credential names", func() (string, error) {
		credential, err := by(w.assertion("stranger"))
		if err != nil {
			return "", err
		}
		t, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{cognitiveScope}})
		return t.Token, err
	}, "AADSTS700213")
}
