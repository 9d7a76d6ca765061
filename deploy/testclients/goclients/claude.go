package main

import (
	"context"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

const claudeModule = "github.com/anthropics/anthropic-sdk-go"

func (w world) anthropic(ctx context.Context) {
	says := "You are default:claude"
	vended := func() (anthropic.Client, error) {
		token, err := w.exchange("claude")
		// The header that lets a bearer token in; the SDK adds it only to tokens that it
		// got itself.
		return anthropic.NewClient(option.WithBaseURL(w.Clouds["anthropic"]), option.WithAuthToken(token),
			option.WithHeader("anthropic-beta", "oauth-2025-04-20"), option.WithMaxRetries(0)), err
	}
	judge("anthropic", claudeModule, "messages", func() (string, error) {
		c, err := vended()
		if err != nil {
			return "", err
		}
		return message(ctx, c)
	}, says)
	judge("anthropic", claudeModule, "messages, streaming", func() (string, error) {
		c, err := vended()
		if err != nil {
			return "", err
		}
		stream, whole := c.Messages.NewStreaming(ctx, hello), anthropic.Message{}
		for stream.Next() {
			if err := whole.Accumulate(stream.Current()); err != nil {
				return "", err
			}
		}
		return said(&whole), stream.Err()
	}, says)

	// The SDK's own federation, as the oracle of the token endpoint.
	own := func() (string, error) {
		return message(ctx, anthropic.NewClient(option.WithBaseURL(w.Sandbox["anthropic"]), option.WithMaxRetries(0),
			option.WithFederationTokenProvider(option.IdentityTokenFile(w.assertion("anthropic")), option.FederationOptions{
				FederationRuleID: w.Anthropic.Rule, OrganizationID: w.Anthropic.Organization, ServiceAccountID: w.Anthropic.Account,
			})))
	}
	judge("anthropic", claudeModule, "federation, then messages", own, says)
	refusal("anthropic", claudeModule, "an assertion used before", own, "used before")
}

var hello = anthropic.MessageNewParams{
	Model: "anthropic.claude-haiku", MaxTokens: 10, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Who am I?"))},
}

func message(ctx context.Context, c anthropic.Client) (string, error) {
	m, err := c.Messages.New(ctx, hello)
	if err != nil {
		return "", err
	}
	return said(m), nil
}

func said(m *anthropic.Message) (text string) {
	for _, block := range m.Content {
		text += block.Text
	}
	return text
}
