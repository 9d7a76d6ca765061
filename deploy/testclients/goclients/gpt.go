package main

import (
	"context"
	"net/http"
	"net/url"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/auth"
	"github.com/openai/openai-go/v3/option"
)

const openaiModule = "github.com/openai/openai-go/v3"

func (w world) openai(ctx context.Context) {
	says := "You are default:gpt"
	for _, kind := range []string{"chat", "chat, streaming"} {
		judge("openai", openaiModule, kind, func() (string, error) {
			token, err := w.exchange("gpt")
			if err != nil {
				return "", err
			}
			return complete(ctx, openai.NewClient(option.WithBaseURL(w.Clouds["openai"]+"/v1"), option.WithAPIKey(token), option.WithMaxRetries(0)), kind != "chat")
		}, says)
	}

	// The SDK's own federation, as the oracle of the token endpoint, whose address is a
	// constant of the SDK's.
	own := func(account string) func() (string, error) {
		return func() (string, error) {
			at, err := url.Parse(w.Sandbox["openai"])
			if err != nil {
				return "", err
			}
			return complete(ctx, openai.NewClient(
				option.WithBaseURL(w.Sandbox["openai"]+"/v1"), option.WithMaxRetries(0), option.WithHTTPClient(&http.Client{Transport: elsewhere{at}}),
				option.WithWorkloadIdentity(auth.WorkloadIdentity{
					IdentityProviderID: w.OpenAI.Pool, ServiceAccountID: account, Provider: auth.K8sServiceAccountTokenProvider(w.assertion("openai")),
				})), false)
		}
	}
	judge("openai", openaiModule, "workload identity, then chat", own(w.OpenAI.Account), says)
	refusal("openai", openaiModule, "a service account without a mapping", own("svc_other"), "invalid_grant") // the SDK keeps the description back
}

// elsewhere sends what is for auth.openai.com to the stand-in.
type elsewhere struct{ at *url.URL }

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "auth.openai.com" {
		r = r.Clone(r.Context())
		r.URL.Host, r.Host = e.at.Host, ""
	}
	return http.DefaultTransport.RoundTrip(r)
}

func complete(ctx context.Context, c openai.Client, stream bool) (string, error) {
	ask := openai.ChatCompletionNewParams{Model: "gpt", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Who am I?")}}
	if !stream {
		out, err := c.Chat.Completions.New(ctx, ask)
		if err != nil || len(out.Choices) == 0 {
			return "", err
		}
		return out.Choices[0].Message.Content, nil
	}
	events, text := c.Chat.Completions.NewStreaming(ctx, ask), ""
	for events.Next() {
		for _, choice := range events.Current().Choices {
			text += choice.Delta.Content
		}
	}
	return text, events.Err()
}
