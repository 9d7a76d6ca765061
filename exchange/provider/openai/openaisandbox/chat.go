package openaisandbox

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// chat answers who the caller is, in the shape of the Chat Completions API.
func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	subject, known := s.Whoami(bearer)
	if !ok || !known {
		apiError(w, http.StatusUnauthorized, "invalid_request_error", "the bearer token is unknown or has expired")
		return
	}
	var q struct {
		Model    string            `json:"model"`
		Messages []json.RawMessage `json:"messages"`
		Stream   bool              `json:"stream"`
	}
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&q) != nil || q.Model == "" || len(q.Messages) == 0 {
		apiError(w, http.StatusBadRequest, "invalid_request_error", "model and messages are needed")
		return
	}
	text, id, created := "You are "+subject, "chatcmpl-"+rand.Text(), s.world.Now().Unix()
	if !q.Stream {
		sandbox.JSON(w, http.StatusOK, map[string]any{
			"id": id, "object": "chat.completion", "created": created, "model": q.Model,
			"choices": []any{map[string]any{
				"index": 0, "finish_reason": "stop", "logprobs": nil, "message": map[string]any{"role": "assistant", "content": text, "refusal": nil},
			}},
			"usage": map[string]int{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
		})
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, choice := range []map[string]any{
		{"index": 0, "delta": map[string]string{"role": "assistant", "content": text}, "finish_reason": nil},
		{"index": 0, "delta": map[string]string{}, "finish_reason": "stop"},
	} {
		data, err := json.Marshal(map[string]any{
			"id": id, "object": "chat.completion.chunk", "created": created, "model": q.Model, "choices": []any{choice},
		})
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(w, "data: %s\n\n", data)
	}
	_, _ = fmt.Fprint(w, "data: [DONE]\n\n")
}
