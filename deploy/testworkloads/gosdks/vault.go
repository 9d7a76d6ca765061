package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/hashicorp/vault/api"
)

// vault reads the key of OpenAI from KV 2, as it would from a Vault, and chats with it.
func vault(ctx context.Context) (string, error) {
	client, err := api.NewClient(nil)
	if err != nil {
		return "", err
	}
	client.SetMaxRetries(0)
	secret, err := client.KVv2("secret").Get(ctx, "gpt")
	if err != nil {
		return "", err
	}
	key, ok := secret.Data["value"].(string)
	if !ok {
		return "", fmt.Errorf("there is no value among the %d members of the secret", len(secret.Data))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv("OPENAI_BASE_URL")+"/chat/completions", strings.NewReader(question))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+key)
	return answer(http.DefaultClient.Do(request))
}
