package ocisandbox

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// behind lets signed requests through, with who signed.
func (b *Sandbox) behind(serve func(http.ResponseWriter, *http.Request, []byte, Claims)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
		if err != nil {
			answer(w, http.StatusBadRequest, failure("InvalidParameter", "The body cannot be read."))
			return
		}
		claims, err := b.signed(r, body)
		if err != nil {
			answer(w, http.StatusUnauthorized, failure("NotAuthenticated", "The required information to complete authentication was not provided or was incorrect: "+err.Error()))
			return
		}
		serve(w, r, body, claims)
	}
}

func failure(code, message string) map[string]string {
	return map[string]string{"code": code, "message": message}
}

// who is whom a token was issued for, as the assertion said.
func who(c Claims) string {
	if c.Source != "" {
		return c.Source
	}
	return c.Subject
}

type serving struct {
	Compartment string `json:"compartmentId"`
	Mode        struct {
		Model string `json:"modelId"`
	} `json:"servingMode"`
}

func (s serving) complete(w http.ResponseWriter) bool {
	if s.Compartment == "" || s.Mode.Model == "" {
		answer(w, http.StatusBadRequest, failure("InvalidParameter", "compartmentId and servingMode.modelId are required."))
		return false
	}
	return true
}

// chat is POST /20231130/actions/chat of Generative AI Inference.
func (b *Sandbox) chat(w http.ResponseWriter, _ *http.Request, body []byte, c Claims) {
	var asked struct {
		serving
		Chat struct {
			Format string `json:"apiFormat"`
			Stream bool   `json:"isStream"`
		} `json:"chatRequest"`
	}
	if json.Unmarshal(body, &asked) != nil {
		answer(w, http.StatusBadRequest, failure("InvalidParameter", "The body is no JSON."))
		return
	}
	if !asked.complete(w) {
		return
	}
	text := "You are " + who(c) + "."
	if asked.Chat.Stream {
		stream(w, asked.Chat.Format, text)
		return
	}
	now := b.setup.World.Now().UTC().Format(time.RFC3339Nano)
	chat := map[string]any{"apiFormat": asked.Chat.Format, "text": text, "finishReason": "COMPLETE"}
	if asked.Chat.Format != "COHERE" {
		chat = map[string]any{
			"apiFormat": "GENERIC", "timeCreated": now,
			"choices": []any{map[string]any{
				"index": 0, "finishReason": "stop",
				"message": map[string]any{"role": "ASSISTANT", "content": []any{map[string]any{"type": "TEXT", "text": text}}},
			}},
			"usage": map[string]any{"promptTokens": 1, "completionTokens": 3, "totalTokens": 4},
		}
	}
	answer(w, http.StatusOK, map[string]any{"modelId": asked.Mode.Model, "modelVersion": "1.0", "chatResponse": chat})
}

// embed is POST /20231130/actions/embedText.
func (b *Sandbox) embed(w http.ResponseWriter, _ *http.Request, body []byte, c Claims) {
	var asked struct {
		serving
		Inputs []string `json:"inputs"`
	}
	if json.Unmarshal(body, &asked) != nil {
		answer(w, http.StatusBadRequest, failure("InvalidParameter", "The body is no JSON."))
		return
	}
	if !asked.complete(w) {
		return
	}
	vectors, counts := make([][]float64, len(asked.Inputs)), make([]int, len(asked.Inputs))
	for i, text := range asked.Inputs {
		vectors[i], counts[i] = []float64{float64(len(text)), 0, 1}, len(strings.Fields(text))
	}
	answer(w, http.StatusOK, map[string]any{"id": who(c), "modelId": asked.Mode.Model, "modelVersion": "1.0", "embeddings": vectors, "inputTextTokenCounts": counts})
}

// storage is Object Storage: GET /n or /n/ gives the namespace, which here says who asks;
// GET below gives an object that does; PUT takes one.
func (b *Sandbox) storage(w http.ResponseWriter, r *http.Request, body []byte, c Claims) {
	switch {
	case r.Method == http.MethodGet && strings.TrimSuffix(r.URL.Path, "/") == "/n":
		answer(w, http.StatusOK, who(c))
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.URL.Path, "/o/"):
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, who(c)+" "+r.URL.RequestURI())
	case upload(r):
		answer(w, http.StatusOK, map[string]any{"caller": who(c), "bytes": len(body)})
	default:
		answer(w, http.StatusNotFound, failure("NotAuthorizedOrNotFound", "Authorization failed or requested resource not found."))
	}
}
