package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/config"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/ops"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/status"
)

// maxStatus bounds what is read of an agent's state, in bytes.
const maxStatus = 4 << 20

func newStatus() *cobra.Command {
	var address, output string
	var watch, ready bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the agent on this machine holds and serves",
		Long: `Asks the agent at --address for its state. With --ready nothing is shown, and the exit
status is 0 if the agent is ready and 1 if it is not: a probe for kubelet, which
cannot reach loopback by itself.`,
		Example: examples(`
			# Once
			cambio-agent status

			# Again and again
			cambio-agent status --watch

			# For a program
			cambio-agent status --output json

			# As a probe: readinessProbe: {exec: {command: [cambio-agent, status, --ready]}}
			cambio-agent status --ready`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case output != "text" && output != "json":
				return usage("--output is text or json, not %q", output)
			case watch && (output == "json" || ready):
				return usage("--watch is for people: leave out --output and --ready")
			case !ops.Loopback(address):
				return usage("--address is one of this machine, such as %s, not %q", config.DefaultOps, address)
			case every < 100*time.Millisecond:
				return usage("--every is a tenth of a second or more")
			}
			out := cmd.OutOrStdout()
			if watch {
				return watchStatus(cmd.Context(), out, address, every)
			}
			text, err := fetchStatus(cmd.Context(), address)
			if err != nil {
				return err
			}
			var report status.Report
			if err := json.Unmarshal(text, &report); err != nil {
				return fmt.Errorf("what answers at %s is no agent", address)
			}
			switch {
			case ready && !report.Ready:
				return fmt.Errorf("not ready: %s", strings.Join(report.Waiting, "; "))
			case ready:
				return nil
			case output == "json":
				_, err = out.Write(text)
				return err
			}
			return report.Write(out, styleOf(out))
		},
	}
	f := cmd.Flags()
	f.StringVar(&address, "address", defaultAddress(), "where the agent's ops.listen is")
	f.BoolVar(&watch, "watch", false, "show it again and again, until interrupted")
	f.DurationVar(&every, "every", 2*time.Second, "how often --watch does")
	f.BoolVar(&ready, "ready", false, "show nothing; say by the exit status whether the agent is ready")
	f.StringVar(&output, "output", "text", "text or json")
	return cmd
}

func defaultAddress() string {
	if address := os.Getenv("CAMBIO_OPS_LISTEN"); address != "" && address != config.Off {
		return address
	}
	return config.DefaultOps
}

// watchStatus draws the page anew until ctx ends. An agent that is not there may come.
func watchStatus(ctx context.Context, out io.Writer, address string, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		var page strings.Builder
		style := styleOf(out)
		text, err := fetchStatus(ctx, address)
		var report status.Report
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			fmt.Fprintln(&page, err)
		case json.Unmarshal(text, &report) != nil:
			fmt.Fprintf(&page, "what answers at %s is no agent\n", address)
		default:
			_ = report.Write(&page, style) // a Builder takes all
		}
		if isTerminal(out) {
			// Home, each line cleared to its end, and all below: nothing flickers.
			fmt.Fprint(out, "\x1b[H"+strings.ReplaceAll(page.String(), "\n", "\x1b[K\n")+"\x1b[J")
		} else if _, err := fmt.Fprintln(out, page.String()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func styleOf(out io.Writer) status.Style {
	if !isTerminal(out) {
		return status.Style{}
	}
	width, _, err := term.GetSize(int(out.(*os.File).Fd()))
	if err != nil {
		width = 0
	}
	_, plain := os.LookupEnv("NO_COLOR")
	return status.Style{Width: width, Color: !plain && os.Getenv("TERM") != "dumb"}
}

func fetchStatus(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/status", nil)
	if err != nil {
		return nil, usage("--address: %q is no host:port", address)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DialContext: (&net.Dialer{}).DialContext}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, &failure{status: statusUnreachable, err: fmt.Errorf("no agent answers at %s: is one running, and is this its ops.listen?", address)}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("what answers at %s is no agent", address)
	}
	return text, nil
}
