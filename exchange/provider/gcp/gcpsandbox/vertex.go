package gcpsandbox

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// generate is generateContent and streamGenerateContent of a Vertex AI model.
func (s *Sandbox) generate(w http.ResponseWriter, r *http.Request) {
	model, method, _ := strings.Cut(r.PathValue("call"), ":")
	if method != "generateContent" && method != "streamGenerateContent" || model == "" {
		refuse(w, http.StatusNotFound, "NOT_FOUND", "Method not found.", "")
		return
	}
	t, ok := s.bearer(w, r, CloudPlatform)
	if !ok {
		return
	}
	// A boundary leaves nothing but Cloud Storage.
	if len(t.Boundary) > 0 || s.accounts[t.Principal].NoVertex {
		refuse(w, http.StatusForbidden, "PERMISSION_DENIED", fmt.Sprintf(
			"Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/projects/%s/locations/%s/publishers/google/models/%s' (or it may not exist).",
			r.PathValue("project"), r.PathValue("location"), model), "IAM_PERMISSION_DENIED")
		return
	}
	var request struct {
		Contents []struct {
			Role  string           `json:"role"`
			Parts []map[string]any `json:"parts"`
		} `json:"contents"`
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || len(request.Contents) == 0 || len(request.Contents[0].Parts) == 0 {
		refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "Unable to submit request because at least one contents field is required.", "")
		return
	}
	answer := map[string]any{
		"candidates": []any{map[string]any{
			"content":      map[string]any{"role": "model", "parts": []any{map[string]string{"text": who(t)}}},
			"finishReason": "STOP",
		}},
		"usageMetadata": map[string]int{"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
		"modelVersion":  model, "createTime": s.world.Now().UTC().Format(time.RFC3339Nano), "responseId": rand.Text(),
	}
	switch {
	case method == "generateContent":
		write(w, http.StatusOK, answer)
	case r.URL.Query().Get("alt") == "sse":
		w.Header().Set("Content-Type", "text/event-stream")
		chunk, _ := json.Marshal(answer)
		_, _ = fmt.Fprintf(w, "data: %s\r\n\r\n", chunk)
	default:
		write(w, http.StatusOK, []any{answer})
	}
}

// who the caller is, in words.
func who(t accessToken) string {
	text := "You are " + t.Principal
	if !t.Federated {
		text += ", by an assertion of " + t.Subject
	}
	if t.Actor != "" {
		text += ", with " + t.Actor + " acting"
	}
	return text + "."
}

// objects lists a bucket's objects, as Cloud Storage does: the one object in every
// bucket says who asks.
func (s *Sandbox) objects(w http.ResponseWriter, r *http.Request) {
	t, ok := s.bearer(w, r, CloudPlatform, "https://www.googleapis.com/auth/devstorage.read_only", "https://www.googleapis.com/auth/devstorage.read_write")
	if !ok {
		return
	}
	bucket := r.PathValue("bucket")
	within := slices.ContainsFunc(t.Boundary, func(one rule) bool {
		return one.Resource == "//storage.googleapis.com/projects/_/buckets/"+bucket
	})
	if len(t.Boundary) > 0 && !within {
		refuse(w, http.StatusForbidden, "PERMISSION_DENIED", fmt.Sprintf(
			"%s does not have storage.objects.list access to the Google Cloud Storage bucket. Permission 'storage.objects.list' denied on resource (or it may not exist).", t.Principal), "")
		return
	}
	write(w, http.StatusOK, map[string]any{
		"kind":  "storage#objects",
		"items": []any{map[string]any{"kind": "storage#object", "bucket": bucket, "name": "whoami.txt", "metadata": map[string]string{"whoami": who(t)}}},
	})
}
