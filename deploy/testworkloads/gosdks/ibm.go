package main

import (
	"context"
	"encoding/json"

	"github.com/IBM/go-sdk-core/v5/core"
)

// ibm chats with watsonx as a service that is configured by WATSONX_ variables alone.
func ibm(ctx context.Context) (string, error) {
	authenticator, err := core.GetAuthenticatorFromEnvironment("watsonx")
	if err != nil {
		return "", err
	}
	service, err := core.NewBaseService(&core.ServiceOptions{Authenticator: authenticator})
	if err != nil {
		return "", err
	}
	if err := service.ConfigureService("watsonx"); err != nil {
		return "", err
	}
	builder := core.NewRequestBuilder(core.POST).WithContext(ctx)
	if _, err := builder.ResolveRequestURL(service.Options.URL, "/ml/v1/text/chat", nil); err != nil {
		return "", err
	}
	builder.AddQuery("version", "2024-10-10")
	builder.AddHeader("Content-Type", "application/json")
	if _, err := builder.SetBodyContentJSON(map[string]any{
		"model_id": "ibm/granite", "project_id": "gosdks", "messages": []any{map[string]string{"role": "user", "content": "Who am I?"}},
	}); err != nil {
		return "", err
	}
	request, err := builder.Build()
	if err != nil {
		return "", err
	}
	var answer map[string]json.RawMessage
	if _, err := service.Request(request, &answer); err != nil {
		return "", err
	}
	return string(answer["choices"]), nil
}
