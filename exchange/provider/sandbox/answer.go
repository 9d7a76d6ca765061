package sandbox

import (
	"encoding/json"
	"net/http"
)

// JSON answers with an object.
func JSON(w http.ResponseWriter, status int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object)
}

// OAuthError answers with an error of RFC 6749 §5.2.
func OAuthError(w http.ResponseWriter, status int, code, description string) {
	JSON(w, status, map[string]string{"error": code, "error_description": description})
}
