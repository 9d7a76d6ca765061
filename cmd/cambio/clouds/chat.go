package clouds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// chat is one call of a chat endpoint: "who am I?".
type chat struct {
	path    string
	headers map[string]string
	body    any
	says    func(answer []byte) (string, error)
}

var question = []any{map[string]string{"role": "user", "content": "Who am I?"}}

// chats are the calls, by provider, each in its provider's own shape.
var chats = map[string]chat{
	AWS: {
		path: "/model/amazon.nova-lite-v1:0/converse",
		body: map[string]any{"messages": []any{map[string]any{"role": "user", "content": []any{map[string]string{"text": "Who am I?"}}}}},
		says: func(answer []byte) (string, error) {
			var a struct {
				Output struct{ Message struct{ Content []text } }
			}
			err := json.Unmarshal(answer, &a)
			return first(a.Output.Message.Content, err)
		},
	},
	Azure: {
		path: "/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
		body: map[string]any{"messages": question}, says: completion,
	},
	GCP: {
		path: "/v1/projects/cambio-dev/locations/us-central1/publishers/google/models/gemini-2.5-flash:generateContent",
		body: map[string]any{"contents": []any{map[string]any{"role": "user", "parts": []any{map[string]string{"text": "Who am I?"}}}}},
		says: func(answer []byte) (string, error) {
			var a struct {
				Candidates []struct{ Content struct{ Parts []text } }
			}
			if err := json.Unmarshal(answer, &a); err != nil || len(a.Candidates) == 0 {
				return "", errSilent
			}
			return first(a.Candidates[0].Content.Parts, nil)
		},
	},
	OCI: {
		path: "/20231130/actions/chat",
		body: map[string]any{
			"compartmentId": "ocid1.compartment.oc1..sandbox", "servingMode": map[string]string{"servingType": "ON_DEMAND", "modelId": "meta.llama-3.3-70b-instruct"},
			"chatRequest": map[string]any{"apiFormat": "GENERIC", "messages": []any{map[string]any{
				"role": "USER", "content": []any{map[string]string{"type": "TEXT", "text": "Who am I?"}},
			}}},
		},
		says: func(answer []byte) (string, error) {
			var a struct {
				ChatResponse struct {
					Choices []struct{ Message struct{ Content []text } }
				}
			}
			if err := json.Unmarshal(answer, &a); err != nil || len(a.ChatResponse.Choices) == 0 {
				return "", errSilent
			}
			return first(a.ChatResponse.Choices[0].Message.Content, nil)
		},
	},
	IBM: {
		path: "/ml/v1/text/chat?version=2024-10-08",
		body: map[string]any{"model_id": "ibm/granite-3-8b-instruct", "project_id": "sandbox", "messages": question}, says: completion,
	},
	Anthropic: {
		path:    "/v1/messages",
		headers: map[string]string{"Anthropic-Version": "2023-06-01", "Anthropic-Beta": "oauth-2025-04-20"},
		body:    map[string]any{"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": question},
		says: func(answer []byte) (string, error) {
			var a struct{ Content []text }
			err := json.Unmarshal(answer, &a)
			return first(a.Content, err)
		},
	},
	OpenAI: {path: "/v1/chat/completions", body: map[string]any{"model": "gpt-5", "messages": question}, says: completion},
}

type text struct{ Text string }

var errSilent = errors.New("the answer is not of the form that this provider's answers have")

func first(texts []text, err error) (string, error) {
	if err != nil || len(texts) == 0 || texts[0].Text == "" {
		return "", errSilent
	}
	return texts[0].Text, nil
}

// completion reads an answer of the form of OpenAI's Chat Completions.
func completion(answer []byte) (string, error) {
	var a struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal(answer, &a); err != nil || len(a.Choices) == 0 || a.Choices[0].Message.Content == "" {
		return "", errSilent
	}
	return a.Choices[0].Message.Content, nil
}

// Chat is a chat call of a provider that answers at the endpoint, without its
// authorization, and its body.
func Chat(ctx context.Context, name, endpoint string) (*http.Request, []byte, error) {
	c, ok := chats[name]
	if !ok {
		return nil, nil, fmt.Errorf("nobody knows how to chat with %q", name)
	}
	body, err := json.Marshal(c.body)
	if err != nil {
		return nil, nil, fmt.Errorf("writing a chat call: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint+c.path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("writing a chat call: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	for header, value := range c.headers {
		r.Header.Set(header, value)
	}
	return r, body, nil
}

// Reply is what the model says in a good answer to a chat call.
func Reply(name string, answer []byte) (string, error) {
	c, ok := chats[name]
	if !ok {
		return "", fmt.Errorf("nobody knows how to chat with %q", name)
	}
	return c.says(answer)
}
