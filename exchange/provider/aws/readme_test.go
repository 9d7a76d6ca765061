package aws_test

import (
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/aws"
	"github.com/cambio-sts/cambio/exchange/provider/aws/awssandbox"
)

// TestREADME: the trust policy that it shows admits the target that it shows, and no
// other.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string) string {
		_, rest, ok := strings.Cut(string(text), "```"+kind+"\n")
		inside, _, closed := strings.Cut(rest, "\n```")
		if !ok || !closed {
			t.Fatalf("there is no block of %s", kind)
		}
		return inside
	}
	var file struct {
		Targets map[string]struct{ AWS aws.Settings }
	}
	if err := yaml.UnmarshalWithOptions([]byte(block("yaml")), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	s := file.Targets["bedrock"].AWS
	y := newYard(t, func(setup *awssandbox.Setup) {
		setup.Region = "eu-west-1"
		setup.Roles = []awssandbox.Role{{Name: "llm", Trust: block("json")}}
	})
	s.Endpoint = y.web.URL
	for target, kind := range map[string]exchange.Kind{"bedrock": 0, "other": exchange.KindProviderRefused} {
		c, err := y.vend(t, &s, func(g *exchange.Grant) {
			g.Target.Name = target
			g.Subject.Attributes = exchange.Attributes{"namespace": {"llm"}}
		})
		if kind != 0 {
			if exchange.KindOf(err) != kind {
				t.Errorf("%s: %v", target, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		session, _ := y.Session(c.Handle)
		if session.Subject != "default:bedrock" || session.Tags["namespace"] != "llm" || session.SourceIdentity != "k8s=3Aprod=3Allm=3Agateway" {
			t.Errorf("%+v", session)
		}
	}
}
