package oci_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestTheStandInStreams: the words of an answer come as events, in the shape of each
// API format; COHERE says all of it again in the last, and GENERIC nothing.
func TestTheStandInStreams(t *testing.T) {
	d := newDesk(t)
	c, err := d.vend(t)
	if err != nil {
		t.Fatal(err)
	}
	v := read(t, c)
	for format, want := range map[string]struct{ reason, last string }{
		"GENERIC": {"stop", ""}, "COHERE": {"COMPLETE", "You are default:suite:k8s%3Aprod%3Allm%3Agateway."},
	} {
		status, text := d.call(t, caller{v.KeyID, makeKey(2048)}, http.MethodPost, "/20231130/actions/chat",
			`{"compartmentId":"c","servingMode":{"modelId":"m"},"chatRequest":{"apiFormat":"`+format+`","isStream":true}}`)
		if status != http.StatusOK {
			t.Fatalf("%s: %d", format, status)
		}
		var said, last, reason string
		for block := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte("\n\n")), []byte("\n\n")) {
			var e struct {
				Text, FinishReason string
				Message            struct{ Content []struct{ Type, Text string } }
			}
			data, ok := bytes.CutPrefix(block, []byte("data: "))
			if !ok || json.Unmarshal(data, &e) != nil || reason != "" {
				t.Fatalf("%s: an event cannot be read, or follows the last", format)
			}
			if reason = e.FinishReason; reason != "" {
				last = e.Text
				continue
			}
			said += e.Text
			for _, part := range e.Message.Content {
				said += part.Text
			}
		}
		if said != "You are default:suite:k8s%3Aprod%3Allm%3Agateway." || strings.Count(said, " ") != 2 || reason != want.reason || last != want.last {
			t.Errorf("%s: said %q, and at the end %q for %q", format, said, last, reason)
		}
	}
}
