package main

import (
	"context"
	"net/http"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

const cognitiveScope = "https://cognitiveservices.azure.com/.default"

// azure chats through Azure's own pipeline, which puts the token of the default chain on
// the request: managed identity of App Service.
func azure(ctx context.Context) (string, error) {
	options := azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}
	credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: options})
	if err != nil {
		return "", err
	}
	pipeline := runtime.NewPipeline("gosdks", "v1.0.0", runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(credential, []string{cognitiveScope}, nil)},
	}, &options)
	request, err := runtime.NewRequest(ctx, http.MethodPost, os.Getenv("AZURE_OPENAI_ENDPOINT")+"/openai/v1/chat/completions")
	if err != nil {
		return "", err
	}
	if err := request.SetBody(nopCloser{strings.NewReader(question)}, "application/json"); err != nil {
		return "", err
	}
	return answer(pipeline.Do(request))
}

// nopCloser is what io.NopCloser would be if it could seek.
type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }
