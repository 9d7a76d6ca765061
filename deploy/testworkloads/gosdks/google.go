package main

import (
	"context"
	"net/http"
	"os"
	"strings"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// gcp asks Vertex by Application Default Credentials: the metadata server, which also
// tells the project.
func gcp(ctx context.Context) (string, error) {
	//lint:ignore SA1019 the oldest version has no other
	project, err := metadata.ProjectID()
	if err != nil {
		return "", err
	}
	credentials, err := google.FindDefaultCredentials(ctx, "https://www.googleapis.com/auth/cloud-platform")
	if err != nil {
		return "", err
	}
	url := os.Getenv("VERTEX_ENDPOINT") + "/v1/projects/" + project + "/locations/us-central1/publishers/google/models/gemini-flash:generateContent"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"contents":[{"role":"user","parts":[{"text":"Who am I?"}]}]}`))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	said, err := answer(oauth2.NewClient(ctx, credentials.TokenSource).Do(request))
	return "In " + project + ": " + said, err
}
