package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
)

func newToken() *cobra.Command {
	var data, trust, namespace, account, user, audience string
	var groups []string
	cmd := &cobra.Command{
		Use:   "token --trust T (--namespace N --service-account S | --user U [--group G]…)",
		Short: "Mint a development token",
		Long: `Mint a token as the cluster or the company of a cambio dev would, with the keys
in its data folder. It is good for one hour, and with that dev only.`,
		Example: examples(`
			# The token of a service account of the cluster
			cambio token --trust cluster --namespace agents --service-account assistant

			# The token of a user of the company, with the groups she has there
			cambio token --trust corp --user alice

			# The token of a user with groups of your choice
			cambio token --trust corp --user zoe --group engineering --group security`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if audience == "" {
				return usage("--audience says whom the token is for: name somebody, or leave it out for %s", devworld.Audience)
			}
			var mint func(w *devworld.World) (exchange.Secret, error)
			switch trust {
			case devworld.ClusterTrust:
				if namespace == "" || account == "" || user != "" || groups != nil {
					return usage("--trust %s takes --namespace and --service-account", trust)
				}
				mint = func(w *devworld.World) (exchange.Secret, error) {
					return w.ServiceAccount(time.Now(), namespace, account, audience)
				}
			case devworld.CorpTrust:
				if user == "" || namespace != "" || account != "" {
					return usage("--trust %s takes --user, and --group where wanted", trust)
				}
				mint = func(w *devworld.World) (exchange.Secret, error) { return w.User(time.Now(), user, groups, audience) }
			default:
				return usage("--trust is %s or %s: those are what cambio dev plays", devworld.ClusterTrust, devworld.CorpTrust)
			}
			world, err := devworld.Open(data)
			if errors.Is(err, devworld.ErrNoData) {
				return fmt.Errorf("there is no development data in %s: start `cambio dev` first, or name its folder with --data", data)
			}
			if err != nil {
				return err
			}
			token, err := mint(world)
			if err != nil {
				return usage("%w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token.Reveal())
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&data, "data", defaultData, "data folder of cambio dev")
	f.StringVar(&trust, "trust", "", "who signs: cluster or corp")
	f.StringVar(&namespace, "namespace", "", "namespace of the service account")
	f.StringVar(&account, "service-account", "", "name of the service account")
	f.StringVar(&user, "user", "", "name of the user")
	f.StringArrayVar(&groups, "group", nil, "a group of the user, instead of those in the company; may be repeated")
	f.StringVar(&audience, "audience", devworld.Audience, "whom the token is for")
	return cmd
}
