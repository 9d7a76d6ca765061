package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/config"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/proxy"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/run"
)

func newProxy() *cobra.Command {
	var flags common
	var route proxy.Route
	var listen, secret, ready string
	cmd := &cobra.Command{
		Use:   "proxy --target TARGET [--preset PROVIDER] [--upstream URL]",
		Short: "Put a target's credential on requests to one upstream",
		Long: `Serves one route of the proxy and nothing else. A caller sends the secret of this
start, which is in --secret-file, where the provider's API key would be; it never
sees the credential. More routes, and who may call, are for a file and "run".`,
		Example: examples(`
			# The official OpenAI client, with OPENAI_BASE_URL=http://127.0.0.1:9902/openai/v1
			cambio-agent proxy --target gpt --preset openai

			# A service of one's own
			cambio-agent proxy --target orders --upstream https://orders.example --path '/v1/**' --method GET`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if route.Target == "" {
				return usage("name the target by --target")
			}
			if route.Provider == "" && route.Upstream == "" {
				return usage("name the upstream by --upstream, or by --preset")
			}
			options, err := flags.options(cmd, "info")
			if err != nil {
				return err
			}
			if secret == "" {
				secret = filepath.Join(options.Env.Dir(), "proxy-secret")
			}
			if route.Provider == "" {
				route.Name = route.Target
				if len(route.Paths) == 0 {
					route.Paths = []string{"/**"}
				}
			}
			options.Amend = func(c *config.Config) error {
				c.AddTarget(route.Target)
				for name := range c.Targets {
					if name != route.Target {
						delete(c.Targets, name) // nobody asks for them here
					}
				}
				c.Doors, c.Files = door.Settings{}, nil
				c.Proxy = proxy.Settings{Listen: listen, SecretFile: secret, Routes: []proxy.Route{route}}
				return nil
			}
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)
			options.ReadyFile, options.Reload = ready, reload
			fmt.Fprintf(cmd.ErrOrStderr(), "cambio-agent: the API key for callers is in %s\n", secret)
			return run.Run(cmd.Context(), options)
		},
	}
	f := cmd.Flags()
	f.StringVar(&route.Target, "target", "", "the target whose credential goes on requests")
	f.StringVar(&route.Provider, "preset", "", "the provider, for what is left out: openai, anthropic, vertex, bedrock, …")
	f.StringVar(&route.Upstream, "upstream", "", "where requests go: https, or http to this machine")
	f.StringVar(&route.Region, "region", "", "the region, of providers that have some, in place of --upstream")
	f.StringArrayVar(&route.Methods, "method", nil, "a method that may be used")
	f.StringArrayVar(&route.Paths, "path", nil, "a path that may be asked for, such as /v1/**")
	f.StringVar(&listen, "listen", "", "host:port of loopback, or unix:/path")
	f.StringVar(&secret, "secret-file", "", "where the callers' secret is written; default: proxy-secret in CAMBIO_DIR")
	f.StringVar(&ready, "ready-file", "", "written when the listener is bound")
	flags.add(cmd)
	return cmd
}
