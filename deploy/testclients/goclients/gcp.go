package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const (
	oauth2Module  = "golang.org/x/oauth2"
	cloudPlatform = "https://www.googleapis.com/auth/cloud-platform"
)

func (w world) gcp(ctx context.Context) {
	says := "You are " + w.GCP.Account + ", by an assertion of default:vertex"
	file := func(file, audience, tokenURL, impersonation string) func() (string, error) {
		return func() (string, error) {
			info := map[string]any{
				"type": "external_account", "audience": audience, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
				"token_url": tokenURL, "credential_source": map[string]string{"file": file},
			}
			at := w.Clouds["gcp"]
			if impersonation != "" {
				info["service_account_impersonation_url"], at = impersonation, w.Sandbox["gcp"]
			}
			text, err := json.Marshal(info)
			if err != nil {
				return "", err
			}
			credentials, err := google.CredentialsFromJSONWithType(ctx, text, google.ExternalAccount, cloudPlatform)
			if err != nil {
				return "", err
			}
			return vertex(ctx, at, credentials.TokenSource)
		}
	}
	judge("gcp", oauth2Module, "external_account by Cambio, then Vertex", file(w.TokenFile, "vertex", w.URL+"/oauth2/token", ""), says)
	refusal("gcp", oauth2Module, "external_account, a target that is not allowed", file(w.TokenFile, "github-mcp", w.URL+"/oauth2/token", ""), "invalid_target")
	at := w.Sandbox["gcp"]
	judge("gcp", oauth2Module, "external_account by the stand-in, then Vertex", file(w.assertion("gcp"), "//iam.googleapis.com/"+w.GCP.Provider,
		at+"/v1/token", at+"/v1/projects/-/serviceAccounts/"+w.GCP.Account+":generateAccessToken"), says)
}

func vertex(ctx context.Context, at string, tokens oauth2.TokenSource) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at+"/v1/projects/cambio-dev/locations/us-central1/publishers/google/models/gemini-flash:generateContent",
		strings.NewReader(`{"contents":[{"role":"user","parts":[{"text":"Who am I?"}]}]}`))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := oauth2.NewClient(ctx, tokens).Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %w", response.Status, text, err)
	}
	return string(text), nil
}
