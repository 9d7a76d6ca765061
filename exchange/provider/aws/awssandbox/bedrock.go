package awssandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// bedrockCodes are the names that the JSON services have for what STS calls
// otherwise.
var bedrockCodes = map[string]string{
	"MissingAuthenticationToken": "MissingAuthenticationTokenException",
	"IncompleteSignature":        "IncompleteSignatureException",
	"SignatureDoesNotMatch":      "InvalidSignatureException",
	"InvalidClientTokenId":       "UnrecognizedClientException",
	"ExpiredToken":               "ExpiredTokenException",
}

// serveBedrock is the runtime: POST /model/<id>/invoke, /model/<id>/converse and
// /model/<id>/converse-stream.
func (s *Server) serveBedrock(rw http.ResponseWriter, r *http.Request) {
	out, refused := s.talk(r)
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("x-amzn-RequestId", s.requestID())
	if refused != nil {
		code := refused.code
		if other, ok := bedrockCodes[code]; ok {
			code = other
		}
		rw.Header().Set("x-amzn-ErrorType", code)
		rw.WriteHeader(refused.status)
		_ = json.NewEncoder(rw).Encode(map[string]string{"message": refused.message})
		return
	}
	if events, ok := out.([]event); ok {
		rw.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
		for _, e := range events {
			_, _ = rw.Write(e.encode())
			_ = http.NewResponseController(rw).Flush()
		}
		return
	}
	_ = json.NewEncoder(rw).Encode(out)
}

// talk answers one call with who the caller is.
func (s *Server) talk(r *http.Request) (any, *refusal) {
	rest, _ := strings.CutPrefix(r.URL.Path, "/model/")
	cut := strings.LastIndexByte(rest, '/')
	if r.Method != http.MethodPost || cut < 1 {
		return nil, refuse(http.StatusNotFound, "UnknownOperationException", "")
	}
	model, operation := rest[:cut], rest[cut+1:]
	body, ok := readBody(r)
	if !ok {
		return nil, refuse(http.StatusRequestEntityTooLarge, "ValidationException", "The request is too large")
	}
	who, refused := s.caller(r, body, model)
	if refused != nil {
		return nil, refused
	}
	switch operation {
	case "invoke":
		return invoke(model, body, who)
	case "converse":
		return converse(body, who)
	case "converse-stream":
		return converseStream(body, who)
	}
	return nil, refuse(http.StatusNotFound, "UnknownOperationException", "")
}

// caller finds who calls, and whether they may have the model.
func (s *Server) caller(r *http.Request, body []byte, model string) (*identity, *refusal) {
	var who *identity
	var refused *refusal
	actions := []string{"bedrock:InvokeModel"} // Converse needs the same
	if strings.HasSuffix(r.URL.Path, "-stream") {
		actions[0] = "bedrock:InvokeModelWithResponseStream"
	}
	if key, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); bearer {
		who, refused = s.bearer(key)
		actions = append(actions, "bedrock:CallWithBearerToken")
	} else {
		who, refused = s.authenticate(r, body, "bedrock")
	}
	if refused != nil {
		return nil, refused
	}
	arn := model
	if !strings.HasPrefix(model, "arn:") {
		arn = fmt.Sprintf("arn:aws:bedrock:%s::foundation-model/%s", s.region, model)
	}
	f := facts{}
	for key, value := range who.session.Tags {
		f["aws:principaltag/"+strings.ToLower(key)] = []string{value}
	}
	for _, action := range actions {
		resource := arn
		if action == "bedrock:CallWithBearerToken" {
			resource = "*"
		}
		if !who.may(action, resource, f) {
			return nil, refuse(http.StatusForbidden, "AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s", who.arn, action, resource)
		}
	}
	return who, nil
}

// says is the reply of every model.
func (i *identity) says() string {
	text := "You are " + i.arn
	if i.session.SourceIdentity != "" {
		text += ", source identity " + i.session.SourceIdentity
	}
	for _, key := range slices.Sorted(maps.Keys(i.session.Tags)) {
		text += ", " + key + " " + i.session.Tags[key]
	}
	return text + "."
}

// invoke answers in the shape of Anthropic's models (Amazon Bedrock User Guide,
// "Anthropic Claude Messages API").
func invoke(model string, body []byte, who *identity) (any, *refusal) {
	var in struct {
		Version   string `json:"anthropic_version"`
		MaxTokens int    `json:"max_tokens"`
		Messages  []any  `json:"messages"`
	}
	if json.Unmarshal(body, &in) != nil || in.Version != "bedrock-2023-05-31" || in.MaxTokens < 1 || len(in.Messages) == 0 {
		return nil, refuse(http.StatusBadRequest, "ValidationException", "Malformed input request: anthropic_version, max_tokens and messages are required, please reformat your input and try again.")
	}
	return map[string]any{
		"id": "msg_bdrk_sandbox", "type": "message", "role": "assistant", "model": model,
		"content":     []any{map[string]string{"type": "text", "text": who.says()}},
		"stop_reason": "end_turn", "stop_sequence": nil, "usage": map[string]int{"input_tokens": 8, "output_tokens": 16},
	}, nil
}

// conversation checks what Converse and ConverseStream are asked.
func conversation(body []byte) *refusal {
	var in struct {
		Messages []struct {
			Role    string `json:"role"`
			Content []any  `json:"content"`
		} `json:"messages"`
	}
	if json.Unmarshal(body, &in) != nil || len(in.Messages) == 0 || in.Messages[0].Role != "user" {
		return refuse(http.StatusBadRequest, "ValidationException", "A conversation must start with a user message. Try again with a conversation that starts with a user message.")
	}
	return nil
}

// converse answers as the Converse operation of Bedrock's API does.
func converse(body []byte, who *identity) (any, *refusal) {
	if refused := conversation(body); refused != nil {
		return nil, refused
	}
	return map[string]any{
		"output":     map[string]any{"message": map[string]any{"role": "assistant", "content": []any{map[string]string{"text": who.says()}}}},
		"stopReason": "end_turn", "metrics": map[string]int{"latencyMs": 1},
		"usage": map[string]int{"inputTokens": 8, "outputTokens": 16, "totalTokens": 24},
	}, nil
}

// converseStream answers as ConverseStream does: the same, in events.
func converseStream(body []byte, who *identity) (any, *refusal) {
	if refused := conversation(body); refused != nil {
		return nil, refused
	}
	events := []event{{"messageStart", map[string]string{"role": "assistant"}}}
	for _, word := range strings.SplitAfter(who.says(), " ") {
		events = append(events, event{"contentBlockDelta", map[string]any{"contentBlockIndex": 0, "delta": map[string]string{"text": word}}})
	}
	return append(events,
		event{"contentBlockStop", map[string]int{"contentBlockIndex": 0}},
		event{"messageStop", map[string]string{"stopReason": "end_turn"}},
		event{"metadata", map[string]any{
			"usage": map[string]int{"inputTokens": 8, "outputTokens": 16, "totalTokens": 24}, "metrics": map[string]int{"latencyMs": 1},
		}},
	), nil
}
