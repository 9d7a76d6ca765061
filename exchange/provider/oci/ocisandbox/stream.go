package ocisandbox

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// stream answers a chat with isStream: an event for each word, and one that ends it, in
// the shape of the API format. Nothing such as [DONE] follows.
func stream(w http.ResponseWriter, format, text string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	for _, word := range strings.SplitAfter(text, " ") {
		if format == "COHERE" {
			event(w, map[string]any{"apiFormat": "COHERE", "text": word})
			continue
		}
		content := []any{map[string]string{"type": "TEXT", "text": word}}
		event(w, map[string]any{"index": 0, "message": map[string]any{"role": "ASSISTANT", "content": content}})
	}
	if format == "COHERE" { // says all of it again
		history := []any{map[string]string{"role": "CHATBOT", "message": text}}
		event(w, map[string]any{"apiFormat": "COHERE", "text": text, "chatHistory": history, "finishReason": "COMPLETE"})
		return
	}
	event(w, map[string]any{"index": 0, "message": map[string]string{"role": "ASSISTANT"}, "finishReason": "stop"})
}

// event sends one, at once.
func event(w http.ResponseWriter, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		return
	}
	_, _ = io.WriteString(w, "data: "+string(text)+"\n\n")
	_ = http.NewResponseController(w).Flush()
}
