package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/record"
)

func (c *cli) initCommand() *cobra.Command {
	var askInstance bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a first configuration, from the profiles and credentials that are found",
		Long: `Writes a configuration with comments to the file of --config, with an account block for each profile of the
shared AWS files, or for the credentials of the environment. It copies no secret: the blocks sign in as the AWS CLI
does. It replaces no file, and makes no AWS calls. With --imds, it asks the instance metadata service for the role of
this EC2 instance.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var f foundSignIns
			var err error
			if f.profiles, err = auth.FindProfiles(auth.LoadOptions{Getenv: c.getenv}); err != nil {
				_ = printer.Fprintf(c.stderr, "warning: %v\n", err)
			}
			for _, name := range credentialVariables {
				if c.getenv(name) != "" {
					f.variable = name
					break
				}
			}
			if askInstance {
				f.instanceErr = c.findInstanceRole(cmd.Context())
				f.instance = f.instanceErr == nil
			}
			return c.writeFirstConfig(f)
		},
	}
	cmd.Flags().BoolVar(&askInstance, "imds", false, "ask the instance metadata service, for at most 5 seconds")
	return cmd
}

// credentialVariables are the variables that lead the default chain to credentials.
var credentialVariables = []string{
	"AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	"AWS_CONTAINER_CREDENTIALS_FULL_URI",
}

// foundSignIns is what a first configuration can sign in with.
type foundSignIns struct {
	profiles    []auth.Profile
	variable    string // of credentials in the environment; "": none
	instance    bool
	instanceErr error
}

// imdsTimeout is how long to wait for the metadata service: a machine that is not an EC2 instance never answers.
const imdsTimeout = 5 * time.Second

func (c *cli) findInstanceRole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, imdsTimeout)
	defer cancel()
	o := auth.LoadOptions{Getenv: c.getenv}
	awsConfig, err := auth.LoadAWS(ctx, o)
	if err != nil {
		return err
	}
	s := auth.NewSessions(auth.Options{AWS: awsConfig, Getenv: c.getenv, Log: slog.New(slog.DiscardHandler)})
	defer s.Close()
	return s.FindInstanceRole(ctx)
}

// writeFirstConfig writes a new file. Only its owner can read it, because people add secrets to it.
func (c *cli) writeFirstConfig(found foundSignIns) error {
	path := c.config.Path
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usageError(&record.Fault{
			Reason: record.Other, Err: fmt.Errorf("%s exists already", path),
			Hint: "Edit it, or name another file with --config.",
		})
	}
	if err != nil {
		return usageError(err)
	}
	_, err = f.WriteString(firstConfig(found))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return printer.Fprintf(c.stdout, "%s: written. Next: collector check -c %s, then collector run --once -c %s\n",
		path, path, path)
}

const firstConfigHead = `# The configuration of collector. config.example.yaml has every key.
# "collector validate" checks this file, and "collector check" tries to sign in.

# When accounts are collected: cron, @hourly, @daily or @every 15m. An account may have its own.
schedule: "@hourly"
timezone: UTC

# The store, MFA sessions and spools.
data_dir: data

# What is listed. Patterns: "us-*", "!us-gov-*". "collector kinds" lists the kinds.
collector_configs:
  regions: ["*"] # every region that is enabled for the account
  kinds: ["*"]

# Where records go besides the store, such as:
#   outputs:
#     - {type: file, path: records.jsonl}
#     - {type: http, url: "https://example.com/ingest"}

# A block for each AWS account. Other ways to sign in: a key, roles, MFA, organizations; see docs/sign-in.md.
accounts:
`

// firstConfig returns the text of the configuration.
func firstConfig(found foundSignIns) string {
	var out strings.Builder
	out.WriteString(firstConfigHead)
	comment := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		out.WriteString("  # " + strings.Join(strings.Fields(text), " ") + "\n")
	}
	blocks := 0
	block := func(key, value string) {
		blocks++
		fmt.Fprintf(&out, "  - %s: %s\n", key, quoteYAML(value))
	}
	for _, p := range found.profiles {
		if p.Err != nil {
			comment("The profile %q leads to no credentials: %v", p.Name, p.Err)
			comment("- profile: %s", quoteYAML(p.Name))
			continue
		}
		if p.NeedsCode {
			comment(`The next profile needs MFA codes: add totp_seed: "${env:NAME}" or token_command to it, or run `+
				`"collector login %s".`, p.Name)
		}
		block("profile", p.Name)
	}
	if found.variable != "" {
		comment("From the environment of this shell (%s): collector needs it, too.", found.variable)
		block("name", "environment")
	}
	if found.instance {
		comment("The role of this EC2 instance.")
		block("credential_source", "Ec2InstanceMetadata")
	}
	if found.instanceErr != nil {
		comment("No instance role was found: %v", found.instanceErr)
	}
	if blocks == 0 {
		comment("No profile and no credentials were found on this machine. This block signs in as the AWS CLI does.")
		block("name", "default")
	}
	return out.String()
}

// quoteYAML quotes a text: JSON is YAML.
func quoteYAML(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""` // a string cannot fail
	}
	return string(b)
}
