package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/run"
)

func newRun() *cobra.Command {
	var flags common
	var once bool
	var ready string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve a workload: as a sidecar, on a laptop, or once before it starts",
		Long: `Serves the doors and the proxy, writes the files and keeps them fresh, until SIGTERM
or SIGINT; then what is under way may end. A changed configuration is taken up by
itself, and on SIGHUP; one with a fault is told in the log and in the status, and
the one before stays in force. A server that cannot be reached holds nothing up:
/readyz says what is missing until it is there.`,
		Example: examples(`
			# A sidecar, or a daemon on a laptop
			cambio-agent run --config cambio-agent.yaml

			# The same by variables alone: the AWS SDKs' endpoint, for one target
			CAMBIO_URL=https://cambio.example CAMBIO_AWS_TARGET=bedrock cambio-agent run

			# An init container: write the files, and end
			CAMBIO_TARGET=gpt CAMBIO_TOKEN_OUTPUT_FILE=/run/secrets/gpt cambio-agent run --once`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := flags.options(cmd, "info")
			if err != nil {
				return err
			}
			if once {
				if ready != "" {
					return usage("--ready-file is for an agent that stays: leave it out, or --once")
				}
				return run.Once(cmd.Context(), options)
			}
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)
			options.ReadyFile, options.Reload = ready, reload
			return run.Run(cmd.Context(), options)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "write every file one time, and end")
	cmd.Flags().StringVar(&ready, "ready-file", "", "written when every listener is bound; JSON with their addresses")
	flags.add(cmd)
	return cmd
}
