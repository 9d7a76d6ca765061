package ocisandbox

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// openAI is POST /openai/v1/chat/completions of Generative AI, which speaks as OpenAI
// does, save that requests are signed and that a header names the compartment.
func (b *Sandbox) openAI(w http.ResponseWriter, r *http.Request, body []byte, c Claims) {
	var asked struct {
		Model    string            `json:"model"`
		Stream   bool              `json:"stream"`
		Messages []json.RawMessage `json:"messages"`
	}
	if json.Unmarshal(body, &asked) != nil || asked.Model == "" || len(asked.Messages) == 0 || r.Header.Get("Opc-Compartment-Id") == "" {
		answer(w, http.StatusBadRequest, failure("InvalidParameter", "model, messages and the header opc-compartment-id are required."))
		return
	}
	text := "You are " + who(c) + "."
	whole := map[string]any{"id": "chatcmpl-sandbox", "created": b.setup.World.Now().Unix(), "model": asked.Model}
	if !asked.Stream {
		whole["object"] = "chat.completion"
		whole["choices"] = []any{map[string]any{
			"index": 0, "finish_reason": "stop", "message": map[string]string{"role": "assistant", "content": text},
		}}
		whole["usage"] = map[string]int{"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
		answer(w, http.StatusOK, whole)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	whole["object"] = "chat.completion.chunk"
	chunk := func(delta map[string]string, finish any) {
		whole["choices"] = []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}
		event(w, whole)
	}
	for _, word := range strings.SplitAfter(text, " ") {
		chunk(map[string]string{"content": word}, nil)
	}
	chunk(map[string]string{}, "stop")
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}
