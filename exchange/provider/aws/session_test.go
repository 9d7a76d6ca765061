package aws_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/aws"
	"github.com/cambio-sts/cambio/exchange/provider/aws/awssandbox"
)

// TestS2AssertionsAreForOneTargetAndGoToOneHost: `sub` begins with tenant and target,
// and the issuer is told where the assertion goes.
func TestS2AssertionsAreForOneTargetAndGoToOneHost(t *testing.T) {
	y := newYard(t, func(s *awssandbox.Setup) { s.Roles[0].Trust = trustOf("sts.amazonaws.com", "default:suite:*", true) })
	s := y.settings()
	s.Subject = []string{"namespace", "subject"}
	c, err := y.vend(t, s, func(g *exchange.Grant) { g.Subject.Attributes = exchange.Attributes{"namespace": {"a:b"}} })
	if err != nil {
		t.Fatal(err)
	}
	session, _ := y.Session(c.Handle)
	if session.Subject != "default:suite:a%3Ab:k8s%3Aprod%3Allm%3Agateway" {
		t.Errorf("sub is %q", session.Subject)
	}
	if a := y.issuer.last; a.Endpoint != "127.0.0.1" || a.Audience != "sts.amazonaws.com" || a.Expires.Sub(a.Issued) > exchange.MaxAssertionLifetime {
		t.Errorf("the assertion is for %q at %q, for %v", a.Audience, a.Endpoint, a.Expires.Sub(a.Issued))
	}
	// Without an endpoint of its own it is the region's.
	for name, host := range map[string]string{
		"us-east-1": "sts.us-east-1.amazonaws.com", "cn-north-1": "sts.cn-north-1.amazonaws.com.cn", "us-gov-west-1": "sts.us-gov-west-1.amazonaws.com",
	} {
		partition := map[bool]string{true: "aws"}[name == "us-east-1"]
		if partition == "" {
			partition = "aws-" + strings.Join(strings.Split(name, "-")[:len(strings.Split(name, "-"))-2], "-")
		}
		s := &aws.Settings{RoleARN: "arn:" + partition + ":iam::123456789012:role/llm", Region: name}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nothing is sent
		if _, err := y.open(t, s).Vend(ctx, grant(t, s, "k8s:prod:llm:gateway")); exchange.KindOf(err) != exchange.KindUnavailable {
			t.Errorf("%s: %v", name, err)
		}
		if y.issuer.last.Endpoint != host {
			t.Errorf("%s: the assertion goes to %q", name, y.issuer.last.Endpoint)
		}
	}
}

// TestSessionsSayWhoseTheyAre in every way that CloudTrail shows, by either method.
func TestSessionsSayWhoseTheyAre(t *testing.T) {
	ambient(t)
	for _, method := range []string{aws.MethodWebIdentity, aws.MethodAssumeRole} {
		y := newYard(t, func(s *awssandbox.Setup) {
			s.Keys = []awssandbox.Key{{ID: ambientID, Secret: ambientSecret, User: "cambio"}}
			if method == aws.MethodAssumeRole {
				s.Roles[0].Trust = strings.Replace(ambientTrust, `"Action"`, `"Condition":{"StringEquals":{"sts:ExternalId":"ours","aws:RequestTag/env":"prod"}},"Action"`, 1)
			}
		})
		s := y.settings()
		s.Method, s.MaxSession, s.SessionPrefix = method, time.Hour, "gw@prod"
		s.SourceIdentity = &aws.Source{From: "subject"}
		s.Tags = map[string]aws.Source{
			"ns": {Attribute: "namespace"}, "env": {Fixed: "prod"}, "who": {From: "subject"}, "by": {From: "actor"}, "app": {From: "client"}, "rule": {From: "rule"},
		}
		s.TransitiveTags = []string{"ns", "who"}
		if method == aws.MethodAssumeRole {
			s.ExternalID = "ours"
		}
		var id string
		c, err := y.vend(t, s, func(g *exchange.Grant) {
			id = g.Exchange.String()
			g.Subject.Name = "oidc:corp:auth0|a=7Cb"
			g.Subject.Attributes = exchange.Attributes{"namespace": {"llm"}}
			g.Actors = []exchange.Actor{{Name: "someone", AssertedBy: "corp"}, {Name: "k8s:prod:agents:helper", Proven: true}}
			g.Client = "gateway"
		})
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		got, _ := y.Session(c.Handle)
		want := map[string]string{
			"ns": "llm", "env": "prod", "who": "oidc:corp:auth0=7Ca=3D7Cb", "by": "k8s:prod:agents:helper", "app": "gateway", "rule": "suite",
		}
		slices.Sort(got.TransitiveTags)
		if got.Name != "gw@prod-"+id || !strings.HasSuffix(got.ARN, ":assumed-role/llm/gw@prod-"+id) || !maps.Equal(got.Tags, want) ||
			got.SourceIdentity != "oidc=3Acorp=3Aauth0=7Ca=3D7Cb" || !slices.Equal(got.TransitiveTags, []string{"ns", "who"}) || got.ExternalID != s.ExternalID {
			t.Errorf("%s: %+v", method, got)
		}
	}
}

// TestS5SessionsEndWithinTheirCaps, by the clock of STS too, unless the target may
// outlive; a key for Bedrock is cut to size.
func TestS5SessionsEndWithinTheirCaps(t *testing.T) {
	y := newYard(t, nil)
	for _, c := range []struct {
		cap     time.Duration
		outlive bool
		format  string
		refused bool
	}{
		{time.Hour, false, aws.FormatCredentials, false},
		{16 * time.Minute, false, aws.FormatCredentials, false},
		{15 * time.Minute, false, aws.FormatCredentials, true},
		{time.Minute, false, aws.FormatCredentials, true},
		{time.Minute, true, aws.FormatCredentials, false},
		{-time.Minute, true, aws.FormatCredentials, true},
		{time.Minute, false, aws.FormatBedrockKey, false},
		{4 * time.Hour, false, aws.FormatBedrockKey, false},
		{500 * time.Millisecond, false, aws.FormatBedrockKey, true},
	} {
		s := y.settings()
		s.MayOutlive, s.Format = c.outlive, c.format
		var notAfter time.Time
		got, err := y.vend(t, s, func(g *exchange.Grant) {
			g.Lifetime, g.NotAfter = max(c.cap, 0), g.Now.Add(c.cap)
			notAfter = g.NotAfter
		})
		if c.refused {
			if exchange.KindOf(err) != exchange.KindInvalidLifetime {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		session, _ := y.Session(got.Handle)
		switch {
		case c.outlive && session.Expires.Sub(notAfter) > 15*time.Minute:
			t.Errorf("%+v: it outlives its cap by %v, and need not", c, session.Expires.Sub(notAfter))
		case !c.outlive && got.Expires.After(notAfter):
			t.Errorf("%+v: the credential ends %v past its cap", c, got.Expires.Sub(notAfter))
		case !c.outlive && c.format == aws.FormatCredentials && session.Expires.After(notAfter):
			t.Errorf("%+v: the session ends %v past its cap", c, session.Expires.Sub(notAfter))
		case c.cap > time.Hour && notAfter.Sub(got.Expires) > 2*time.Minute:
			t.Errorf("%+v: it ends %v early", c, notAfter.Sub(got.Expires))
		}
	}
}

// TestS8PassthroughIsShownAsItCame: STS verifies a token of the cluster by the
// cluster's own provider.
func TestS8PassthroughIsShownAsItCame(t *testing.T) {
	cluster := newAsserter(t)
	const clusterIssuer = "https://oidc.cluster.example/id/7"
	y := newYard(t, func(s *awssandbox.Setup) {
		s.Clusters = []awssandbox.Cluster{{Issuer: clusterIssuer, Keys: cluster.published, Audiences: []string{"sts.amazonaws.com"}}}
		s.Roles[0].Trust = awssandbox.WebIdentityTrust(account, clusterIssuer, "sts.amazonaws.com", "system:serviceaccount:llm:gateway", false)
		s.SingleUse = false
	})
	s := y.settings()
	s.Method, s.Tags = aws.MethodPassthrough, nil
	token := func(expires time.Time, audience string) exchange.Token {
		text, err := cluster.sign(map[string]any{
			"iss": clusterIssuer, "sub": "system:serviceaccount:llm:gateway", "aud": audience, "iat": time.Now().Add(-time.Hour).Unix(), "exp": expires.Unix(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return exchange.Token{Value: exchange.NewSecret(text), Type: exchange.TokenTypeJWT}
	}
	c, err := y.vend(t, s, func(g *exchange.Grant) { g.Passthrough = token(time.Now().Add(time.Hour), "sts.amazonaws.com") })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := y.chat(t.Context(), c, small, "converse"); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]exchange.Token{
		"expired": token(time.Now().Add(-time.Minute), "sts.amazonaws.com"), "another audience": token(time.Now().Add(time.Hour), "vault"),
	} {
		if _, err := y.vend(t, s, func(g *exchange.Grant) { g.Passthrough = bad }); exchange.KindOf(err) != exchange.KindInvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestS23SubjectsNeverShare: many subjects at once, and each session is its own
// subject's, whatever is under way beside it.
func TestS23SubjectsNeverShare(t *testing.T) {
	y := newYard(t, nil)
	s := y.settings()
	d := y.open(t, s)
	const vends, workers = 10_000, 32
	next := make(chan int)
	go func() {
		defer close(next)
		for n := range vends {
			next <- n
		}
	}()
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for n := range next {
				g := grant(t, s, fmt.Sprintf("k8s:prod:ns%d:gateway", n%2))
				c, err := d.Vend(t.Context(), g)
				if err != nil {
					t.Error(err)
					return
				}
				if session, ok := y.Session(c.Handle); !ok || session.Tags["subject"] != g.Subject.Name || !strings.HasSuffix(session.Name, g.Exchange.String()) {
					t.Errorf("%s got the session %+v", g.Subject.Name, session)
				}
			}
		})
	}
	all.Wait()
	if y.Calls() != vends {
		t.Errorf("%d vends took %d calls", vends, y.Calls())
	}
}

// TestNarrowing: a session has what its policy and its role both allow.
func TestNarrowing(t *testing.T) {
	const managed = "arn:aws:iam::aws:policy/OnlySmall"
	onlySmall := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"bedrock:Invoke*","Resource":"*/` + small + `"}]}`
	for name, change := range map[string]func(*aws.Settings){
		"inline":  func(s *aws.Settings) { s.Policy = onlySmall },
		"managed": func(s *aws.Settings) { s.PolicyARNs = []string{managed} },
		"a scope": func(s *aws.Settings) {
			s.Scopes = map[string]aws.Scope{"small": {PolicyARNs: []string{managed}}, "large": {PolicyARNs: []string{"arn:aws:iam::aws:policy/OnlyLarge"}}}
		},
	} {
		y := newYard(t, func(s *awssandbox.Setup) { s.Managed = map[string]string{managed: onlySmall} })
		s := y.settings()
		change(s)
		c, err := y.vend(t, s, func(g *exchange.Grant) {
			if g.Scopes != nil {
				g.Scopes = []string{"small"}
			}
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := y.chat(t.Context(), c, small, "converse"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := y.chat(t.Context(), c, large, "converse"); !errors.Is(err, errDenied) {
			t.Errorf("%s: the other model answers: %v", name, err)
		}
	}
}
