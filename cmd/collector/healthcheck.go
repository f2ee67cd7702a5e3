package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// healthcheckCommand asks the daemon on this machine whether it is alive: what a container's HEALTHCHECK runs, in an image
// that has no shell and no curl.
func (c *cli) healthcheckCommand() *cobra.Command {
	var listen string
	var ready bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the daemon on this machine whether it is alive; exit 0 if so",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if listen == "" {
				listen = c.getenv("COLLECTOR_LISTEN")
			}
			if listen == "" {
				listen = defaultListen
				if f, err := c.loadConfig(cmd.Context()); err == nil { // a broken file is validate's business; the daemon runs on with the last good one
					listen = f.file.Web.Listen
				}
			}
			path := healthyPath
			if ready {
				path = "/-/ready"
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("no answer within %s", timeout))
			defer cancel()
			return probeHealth(ctx, listen, path)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "", "`ADDRESS` of the daemon; default: COLLECTOR_LISTEN, else web.listen of the configuration")
	cmd.Flags().BoolVar(&ready, "ready", false, "ask whether it is ready, not only alive")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for an answer")
	return cmd
}

const defaultListen = "127.0.0.1:9420"

const healthyPath = "/-/healthy"

func probeHealth(ctx context.Context, listen, path string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return usageError(fmt.Errorf("listen address %q: %w", listen, err))
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	// The certificate names the service, not this address, and nothing secret is sent: who answers here is this machine.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} //nolint:gosec
	var status string
	for _, scheme := range []string{"http", "https"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+path, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "remote error" && path == healthyPath {
				return nil // TLS wants a certificate of its client, and said so: it is alive
			}
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("healthcheck %s: %w", listen, err)
		}
		resp.Body.Close()
		status = resp.Status
		switch {
		case resp.StatusCode == http.StatusOK:
			return nil
		case resp.StatusCode == http.StatusUnauthorized && path == healthyPath: // it asks for a password, so it is alive
			return nil
		case resp.StatusCode == http.StatusBadRequest: // plain HTTP said to a TLS listener
			continue
		}
		break
	}
	return fmt.Errorf("healthcheck %s: %s", listen, status)
}
