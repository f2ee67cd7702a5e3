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

// healthcheckCommand is for the HEALTHCHECK of a container image that has no shell and no curl.
func (c *cli) healthcheckCommand() *cobra.Command {
	var listen string
	var ready bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Check that the collector on this machine is alive; the exit code is 0 if it is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if listen == "" {
				listen = c.listenAddress(cmd.Context())
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
	cmd.Flags().StringVar(&listen, "listen", "",
		"`ADDRESS` of the collector; default: COLLECTOR_LISTEN, else web.listen of the configuration")
	cmd.Flags().BoolVar(&ready, "ready", false, "also check that it is ready")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	return cmd
}

const defaultListen = "127.0.0.1:9420"

const healthyPath = "/-/healthy"

func probeHealth(ctx context.Context, listen, path string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return usageError(fmt.Errorf("%q is not an address to connect to; write host:port such as %s", listen, defaultListen))
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	// The certificate names the service instead of this address. No secret is sent, and this machine answers.
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, //nolint:gosec
	}}
	var status string
	for _, scheme := range []string{"http", "https"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+path, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "remote error" && path == healthyPath {
				return nil // the server requires a client certificate, so it is alive
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
		case resp.StatusCode == http.StatusUnauthorized && path == healthyPath: // it requires a password, so it is alive
			return nil
		case resp.StatusCode == http.StatusBadRequest: // a TLS listener got plain HTTP
			continue
		}
		break
	}
	return fmt.Errorf("healthcheck %s: %s", listen, status)
}
