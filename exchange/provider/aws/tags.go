package aws

import (
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/cambio-sts/cambio/exchange"
)

// The claims by which an assertion carries what AssumeRole takes as parameters (IAM
// User Guide, "Passing session tags using AssumeRoleWithWebIdentity" and "Monitor and
// control actions taken with assumed roles").
const (
	claimTags     = "https://aws.amazon.com/tags"
	claimIdentity = "https://aws.amazon.com/source_identity"
)

// tagsFor are the session's tags, in the order of their keys.
func (s *Settings) tagsFor(g *exchange.Grant) ([]types.Tag, error) {
	tags := make([]types.Tag, 0, len(s.Tags))
	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		text, err := s.Tags[key].text(g)
		if err == nil {
			text, err = tagValue(text)
		}
		if err != nil {
			return nil, fmt.Errorf("tags.%s: %w", key, err)
		}
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(text)})
	}
	return tags, nil
}

// claims are those for AWS in an assertion; nil: none are needed.
func (s *Settings) claims(a ask) map[string]any {
	claims := map[string]any{}
	if len(a.tags) > 0 {
		tags := make(map[string][]string, len(a.tags))
		for _, t := range a.tags {
			tags[*t.Key] = []string{*t.Value}
		}
		claim := map[string]any{"principal_tags": tags}
		if len(s.TransitiveTags) > 0 {
			claim["transitive_tag_keys"] = s.TransitiveTags
		}
		claims[claimTags] = claim
	}
	if a.identity != "" {
		claims[claimIdentity] = a.identity
	}
	return claims
}
