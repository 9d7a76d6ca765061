package ibmsandbox

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// chat answers who the caller is, in the shape of the watsonx.ai text chat API.
func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	one, known := s.session(bearer)
	if !ok || !known {
		sandbox.JSON(w, http.StatusUnauthorized, map[string]any{
			"errors": []any{map[string]string{"code": "authentication_token_not_valid", "message": "the bearer token is unknown or has expired"}},
		})
		return
	}
	var q struct {
		ModelID   string            `json:"model_id"`
		ProjectID string            `json:"project_id"`
		Messages  []json.RawMessage `json:"messages"`
	}
	if json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&q) != nil || q.ModelID == "" || q.ProjectID == "" ||
		len(q.Messages) == 0 || r.URL.Query().Get("version") == "" {
		sandbox.JSON(w, http.StatusBadRequest, map[string]any{
			"errors": []any{map[string]string{"code": "invalid_request_entity", "message": "version, model_id, project_id and messages are needed"}},
		})
		return
	}
	who := one.identity
	if one.resource != "" {
		who += " by " + one.resource
	}
	sandbox.JSON(w, http.StatusOK, map[string]any{
		"id": "chat-1", "object": "chat.completion", "model_id": q.ModelID, "created": s.cluster.Now().Unix(),
		"choices": []any{map[string]any{
			"index": 0, "finish_reason": "stop", "message": map[string]string{"role": "assistant", "content": "You are " + who},
		}},
		"usage": map[string]int{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
	})
}
