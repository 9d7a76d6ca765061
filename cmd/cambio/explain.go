package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
)

// explainFlags describe a request that nobody makes.
type explainFlags struct {
	policyFlags
	server     reach // where emergency denies are looked at
	token      string
	subject    string
	attributes []string
	actor      string
	actorAttrs []string
	asserted   []string
	actorToken string
	client     string
	at         string
	target     string
	resource   string
	scopes     []string
	lifetime   time.Duration
	reason     string
	clientIP   string
	output     string
}

func newPolicyExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain (--token FILE | --subject S) --target T",
		Short: "Say what policy answers, and why",
		Long: `Say whether a subject would get a target: every rule that was looked at, the one
that decided, or the nearest one and the predicate that failed.

The subject is that of a token, which is verified as a server would (at the time
of --at, so that a token of the past can be looked at), or one that you describe;
so is the actor, if there is one.
Emergency denies live in a server's database: they are looked at where one is
named, with --url, or with --data for a running cambio dev, and not otherwise. The
exit status is 0 for allowed, and 1 for denied.`,
		Example: examples(`
			# Ask why a described subject may not have a target
			cambio policy explain --subject k8s:cluster:agents:assistant --target github-mcp --scope tools.call

			# Describe a user by groups, and who acts for her
			cambio policy explain --subject oidc:corp:alice --attr groups=engineering \
			  --actor k8s:cluster:agents:assistant --target github-mcp

			# Ask what two real tokens would get together
			cambio policy explain --token alice.jwt --actor-token agent.jwt --target github-mcp

			# Ask with the emergency denies that a server has in force
			cambio policy explain --subject k8s:cluster:agents:assistant --target github-mcp \
			  --url https://cambio.example --token-file me.jwt

			# Ask what a token would have got on the 21st at noon
			cambio policy explain --token token.jwt --at 2026-11-21T12:00:00Z --target github-mcp --output json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.token, "token", "", "file of the subject's token; - is standard input")
	flags.StringVar(&f.subject, "subject", "", "canonical name of a subject, such as k8s:<trust>:<namespace>:<service account>")
	flags.StringArrayVar(&f.attributes, "attr", nil, "an attribute of the described subject, as name=value; may be repeated")
	flags.StringVar(&f.actor, "actor", "", "canonical name of an actor, as if proven")
	flags.StringArrayVar(&f.actorAttrs, "actor-attr", nil, "an attribute of the described actor, as name=value; may be repeated")
	flags.StringArrayVar(&f.asserted, "asserted", nil, "an actor that the described subject's issuer asserts, outermost first; may be repeated")
	flags.StringVar(&f.actorToken, "actor-token", "", "file of the actor's token; - is standard input")
	flags.StringVar(&f.client, "client", "", "id of a registered client, as if authenticated")
	flags.StringVar(&f.at, "at", "", "the moment to look at, in RFC 3339 (default: now)")
	flags.StringVar(&f.target, "target", "", "name of the target")
	flags.StringVar(&f.resource, "resource", "", "URI of the target, instead of its name")
	flags.StringArrayVar(&f.scopes, "scope", nil, "a scope that is asked for; may be repeated")
	flags.DurationVar(&f.lifetime, "lifetime", 0, "the lifetime that is asked for")
	flags.StringVar(&f.reason, "reason", "", "the reason that is given")
	flags.StringVar(&f.clientIP, "client-ip", "", "the address that the request comes from")
	addReach(cmd, &f.server, true)
	outputFlag(cmd, &f.output, "text")
	return cmd
}

func (f *explainFlags) run(cmd *cobra.Command) error {
	q, err := f.question()
	if err != nil {
		return err
	}
	if !f.asksServer(cmd) && (f.server.tokenFile != "" || f.server.caFile != "") {
		return usage("--token-file and --ca-file are for a server, whose emergency denies are looked at: name it with --url, or leave them out")
	}
	l, err := f.load()
	if err != nil {
		return err
	}
	e, err := f.explain(cmd, l, q)
	if err != nil {
		return err
	}
	if f.output == "json" {
		if err := json.NewEncoder(cmd.OutOrStdout()).Encode(e); err != nil {
			return err
		}
	} else if err := printExplanation(cmd.OutOrStdout(), e); err != nil {
		return err
	}
	if !e.Allowed {
		return errSaid
	}
	return nil
}

// question is the request without its subject.
func (f *explainFlags) question() (exchange.Question, error) {
	q := exchange.Question{Tenant: "default", Scopes: f.scopes, Client: f.client, Lifetime: f.lifetime, Reason: f.reason, Now: time.Now()}
	if err := checkOutput(f.output, "text", "json"); err != nil {
		return q, err
	}
	switch {
	case (f.token == "") == (f.subject == ""):
		return q, usage("say whose request it is: --token FILE, or --subject NAME")
	case f.token != "" && f.attributes != nil:
		return q, usage("--attr describes a --subject; a token has its own attributes")
	case f.token != "" && f.asserted != nil:
		return q, usage("--asserted describes a --subject; a token asserts its own actors")
	case f.actor != "" && f.actorToken != "":
		return q, usage("say who acts in one way: --actor-token FILE, or --actor NAME")
	case f.actor == "" && f.actorAttrs != nil:
		return q, usage("--actor-attr describes an --actor; a token has its own attributes")
	case f.token == "-" && f.actorToken == "-":
		return q, usage("standard input holds one token: give the other in a file")
	case (f.target == "") == (f.resource == ""):
		return q, usage("say what is asked for: --target NAME or --resource URI")
	case f.target != "":
		q.Audiences = []string{f.target}
	default:
		q.Resources = []string{f.resource}
	}
	if f.lifetime < 0 || f.lifetime%time.Second != 0 {
		return q, usage("--lifetime is whole seconds, not %s", f.lifetime)
	}
	var err error
	if f.at != "" {
		if q.Now, err = time.Parse(time.RFC3339, f.at); err != nil {
			return q, usage("--at %q is no moment: write 2026-11-21T12:00:00Z", f.at)
		}
	}
	if f.clientIP != "" {
		if q.ClientIP, err = netip.ParseAddr(f.clientIP); err != nil {
			return q, usage("--client-ip %q is no address", f.clientIP)
		}
	}
	return q, nil
}

func readAttributes(flag string, pairs []string) (map[string][]string, error) {
	attributes := map[string][]string{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, usage("%s %q is no name=value", flag, pair)
		}
		attributes[name] = append(attributes[name], value)
	}
	return attributes, nil
}

// explain finds out who asks, and asks policy. A token that is refused is an answer
// too; keys that cannot be had are not.
func (f *explainFlags) explain(cmd *cobra.Command, l *loaded, q exchange.Question) (explained, error) {
	if err := l.verifier.Load(l.revision.Trusts()); err != nil {
		return explained{}, err
	}
	for _, who := range []func(*cobra.Command, *loaded, *exchange.Question) error{f.identify, f.identifyClient, f.identifyActor} {
		err := who(cmd, l, &q)
		var refused *refusedToken
		if errors.As(err, &refused) {
			return explained{Explanation: policy.Explanation{
				Subject: q.Subject.Name, Trust: q.Subject.Trust, Refusal: refused.kind.String(), Revision: l.revision.Hash(),
				Reasons: []string{refused.Error()}, Rules: []policy.RuleVerdict{},
			}}, nil
		}
		if err != nil {
			return explained{}, err
		}
	}
	e := explained{Explanation: l.revision.Explain(q)}
	if err := f.lookAtDenies(cmd, l, q, &e); err != nil {
		return explained{}, err
	}
	refusal, reason := exchange.KindInternal, ""
	if f.token != "" { // a described subject is taken to be exchangeable
		refusal, reason = beforePolicy(&q)
	}
	if err := exchange.CheckChain(q.Actors, q.Subject.Asserted); err != nil && reason == "" {
		refusal, reason = exchange.KindOf(err), err.Error()
	}
	if reason != "" {
		e.Allowed, e.Rule, e.Refusal = false, "", refusal.String()
		e.Reasons = append([]string{reason}, e.Reasons...)
	}
	return e, nil
}

// identify fills in the subject.
func (f *explainFlags) identify(cmd *cobra.Command, l *loaded, q *exchange.Question) error {
	if f.token != "" {
		verified, err := l.verify(cmd, "the token", f.token, q.Now)
		if err != nil {
			return err
		}
		q.Subject, q.Tenant = verified, verified.Tenant
		return nil
	}
	attributes, err := readAttributes("--attr", f.attributes)
	if err != nil {
		return err
	}
	if q.Subject, err = policy.Describe(l.revision, f.subject, attributes); err != nil {
		return usage("--subject: %w", err)
	}
	policy.DescribeAsserted(&q.Subject, f.asserted)
	return nil
}

// identifyActor fills in who acts, if somebody does. A token is held to what an
// exchange asks of an actor's.
func (f *explainFlags) identifyActor(cmd *cobra.Command, l *loaded, q *exchange.Question) error {
	if f.actorToken != "" {
		s, err := l.verify(cmd, "the actor token", f.actorToken, q.Now)
		var refused *refusedToken
		switch {
		case errors.As(err, &refused):
			return &refusedToken{kind: exchange.KindInvalidActor, err: refused.err}
		case err != nil:
			return err
		case len(s.Asserted) > 0:
			return &refusedToken{exchange.KindInvalidActor, errors.New("the actor token is itself delegated: the actor's own token is needed")}
		case q.Client == "" && s.Clientless != exchange.ClientlessYes:
			return &refusedToken{exchange.KindInvalidClient, errors.New("only an authenticated client may use this actor token: its trust is not clientless for it (ask with --client NAME for what such a client would get)")}
		case s.Once != nil && q.Subject.Once != nil:
			return &refusedToken{exchange.KindInvalidActor, errors.New("both tokens are single-use: one of them must come from another trust")}
		}
		q.Actors = []exchange.Actor{{
			Name: s.Name, Trust: s.Trust, Attributes: s.Attributes, Issuer: s.Issuer, ID: s.ID, Proven: true,
			Expires: s.Expires, TrustHash: s.TrustHash,
		}}
		return nil
	}
	if f.actor == "" {
		return nil
	}
	attributes, err := readAttributes("--actor-attr", f.actorAttrs)
	if err != nil {
		return err
	}
	if err := policy.DescribeActing(l.revision, q, f.actor, attributes); err != nil {
		return usage("--actor: %w", err)
	}
	return nil
}

// refusedToken says that an exchange would end before policy is asked.
type refusedToken struct {
	kind exchange.Kind
	err  error
}

func (r *refusedToken) Error() string { return r.err.Error() }

// verify proves the token in a file, as a server would.
func (l *loaded) verify(cmd *cobra.Command, what, file string, at time.Time) (exchange.Subject, error) {
	token, err := readToken(file, cmd.InOrStdin())
	if err != nil {
		return exchange.Subject{}, err
	}
	s, err := l.verifier.Verify(cmd.Context(), exchange.Token{Value: token, Type: exchange.TokenTypeJWT}, at)
	var known *exchange.Error
	switch {
	case errors.As(err, &known) && known.Kind == exchange.KindInvalidSubject:
		return s, &refusedToken{known.Kind, fmt.Errorf("%s is refused before policy is asked: %w", what, known)}
	case errors.As(err, &known) && known.Kind == exchange.KindUnavailable:
		return s, unreachable(err)
	}
	return s, err
}

// beforePolicy is what an exchange refuses of a verified token before it asks
// policy.
func beforePolicy(q *exchange.Question) (exchange.Kind, string) {
	s := &q.Subject
	clientless := s.Clientless == exchange.ClientlessYes || s.Clientless == exchange.ClientlessWithActor && len(q.Actors) > 0
	switch {
	case !clientless && q.Client == "":
		return exchange.KindInvalidClient, "only an authenticated client may exchange this token: its trust is not clientless for it (ask with --client NAME for what such a client would get)"
	case s.MayAct != nil && (len(q.Actors) == 0 || q.Actors[0].Issuer != "" && !s.MayAct.Names(q.Actors[0])):
		return exchange.KindInvalidActor, "the token's may_act names one actor, and the request has another or none"
	}
	return exchange.KindInternal, ""
}

func printExplanation(w io.Writer, e explained) error {
	verdict := "denied"
	if e.Allowed {
		verdict = "allowed"
	}
	for _, r := range e.Rules {
		if r.Matched && r.Rule == e.Rule {
			verdict += " by " + e.Rule // for a refusal it may also be the nearest allow
			break
		}
	}
	fmt.Fprintln(w, clean(verdict))
	for _, reason := range e.Reasons {
		fmt.Fprintln(w, "  "+clean(reason))
	}
	fmt.Fprintln(w)
	facts := [][]string{{"subject", e.Subject}, {"trust", e.Trust}, {"actor", e.Actor}}
	if len(e.Asserted) > 0 {
		facts = append(facts, []string{"asserted", strings.Join(e.Asserted, ", ")})
	}
	facts = append(facts, [][]string{
		{"target", e.Target},
		{"scopes", strings.Join(e.Scopes, " ")}, {"revision", e.Revision},
	}...)
	facts = append(facts, []string{"emergency denies", e.Denies.fact()})
	if e.Lifetime > 0 {
		facts = append(facts, []string{"lifetime", (time.Duration(e.Lifetime) * time.Second).String()})
	}
	if err := table(w, []string{"FACT", "VALUE"}, facts); err != nil {
		return err
	}
	if len(e.Rules) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, r := range e.Rules {
		matched := "no"
		if r.Matched {
			matched = "yes"
		}
		rows = append(rows, []string{r.Rule, r.Effect, matched, fmt.Sprintf("%s:%d", r.File, r.Line), r.Failed})
	}
	return table(w, []string{"RULE", "EFFECT", "MATCHED", "WHERE", "FAILED ON"}, rows)
}
