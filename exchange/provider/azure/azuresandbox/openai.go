package azuresandbox

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// deployment is POST /openai/deployments/{deployment}/chat/completions?api-version=….
func (s *Sandbox) deployment(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("api-version") == "" {
		complain(w, http.StatusNotFound, "404", "Resource not found")
		return
	}
	s.complete(w, r, r.PathValue("deployment"))
}

// v1 is POST /openai/v1/chat/completions, where the model is the deployment.
func (s *Sandbox) v1(w http.ResponseWriter, r *http.Request) { s.complete(w, r, "") }

// chat is what is read of a request.
type chat struct {
	Model    string `json:"model"`
	Stream   bool   `json:"stream"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
}

func (s *Sandbox) complete(w http.ResponseWriter, r *http.Request, deployment string) {
	who, ok := s.caller(w, r)
	if !ok {
		return
	}
	var c chat
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		complain(w, http.StatusBadRequest, "BadRequest", "We could not parse the JSON body of your request.")
		return
	}
	if deployment == "" {
		deployment = c.Model
	}
	switch {
	case deployment == "" || s.options.Deployments != nil && !slices.Contains(s.options.Deployments, deployment):
		complain(w, http.StatusNotFound, "DeploymentNotFound",
			"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.")
		return
	case len(c.Messages) == 0:
		complain(w, http.StatusBadRequest, "BadRequest", "Invalid type for 'messages': expected an array of messages with at least one.")
		return
	}
	id, created := "chatcmpl-"+rand.Text(), s.now().Unix()
	if c.Stream {
		stream(w, id, created, deployment, who)
		return
	}
	write(w, http.StatusOK, map[string]any{
		"id": id, "object": "chat.completion", "created": created, "model": deployment, "system_fingerprint": nil,
		"choices": []any{map[string]any{
			"index": 0, "finish_reason": "stop", "logprobs": nil,
			"message": map[string]any{"role": "assistant", "content": who, "refusal": nil},
		}},
		"usage": map[string]int{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
	})
}

// caller is who the bearer of the request is, in words.
func (s *Sandbox) caller(w http.ResponseWriter, r *http.Request) (string, bool) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	t, err := s.open(text)
	if !strings.EqualFold(scheme, "Bearer") || err != nil || t.Audience != cognitive && t.Audience != "https://ai.azure.com" || !s.now().Before(t.Expires) {
		complain(w, http.StatusUnauthorized, "401",
			"Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired.")
		return "", false
	}
	principal := t.App
	if t.User != "" {
		principal = t.User
	}
	if s.apps[strings.ToLower(t.App)].NoRole {
		complain(w, http.StatusUnauthorized, "PermissionDenied", fmt.Sprintf(
			"The principal `%s` lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action` to perform `POST /openai/deployments/{deployment-id}/chat/completions` operation.",
			object(principal)))
		return "", false
	}
	if t.User != "" {
		return fmt.Sprintf("You are the user %s of tenant %s, through the application %s, by an assertion of %s.", t.User, s.options.TenantID, t.App, t.Assertion.Subject), true
	}
	return fmt.Sprintf("You are the application %s of tenant %s, by an assertion of %s.", t.App, s.options.TenantID, t.Assertion.Subject), true
}

// stream answers in server-sent events, as `stream: true` asks.
func stream(w http.ResponseWriter, id string, created int64, model, text string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	event := func(delta map[string]any, finish any) {
		chunk, _ := json.Marshal(map[string]any{
			"id": id, "object": "chat.completion.chunk", "created": created, "model": model,
			"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}},
		})
		_, _ = fmt.Fprintf(w, "data: %s\n\n", chunk)
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	event(map[string]any{"role": "assistant", "content": ""}, nil)
	for _, word := range strings.SplitAfter(text, " ") {
		event(map[string]any{"content": word}, nil)
	}
	event(map[string]any{}, "stop")
	_, _ = fmt.Fprint(w, "data: [DONE]\n\n")
}

// complain answers in the shape of the Azure OpenAI data plane's errors.
func complain(w http.ResponseWriter, status int, code, message string) {
	write(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}
