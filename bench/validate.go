package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/aws-collector/collector/internal/awsfake"
)

// validate measures `collector validate`, for which editors and CI jobs wait.
func validate(b *bench, ctx context.Context, args []string) error {
	f := b.flags("validate")
	accounts := f.Int("accounts", 500, "how many")
	n := f.Int("n", 20, "runs")
	wrong := f.Bool(
		"mistakes",
		false,
		"add three mistakes to each account: an unknown key, an unknown region and an unknown kind",
	)
	if err := parseFlags(f, args); err != nil {
		return err
	}
	path, err := b.collectorBinary(ctx)
	if err != nil {
		return err
	}
	org := buildOrganization(
		awsfake.New(awsfake.Options{Seed: 1}), *accounts, true, 0, "us-east-1", "us-west-2", "eu-west-1", "eu-central-1",
	)
	config, exit, what := runOptions{org: org}.config(b.dir, b.store), 0, ""
	if *wrong {
		config, exit, what = mistakes(*accounts), 2, fmt.Sprintf(" with %s mistakes", formatCount(3**accounts))
	}
	if err := os.WriteFile(b.path("config.yaml"), config, 0o600); err != nil {
		return err
	}
	env, err := b.environment(nil)
	if err != nil {
		return err
	}
	var all []usage
	for range *n {
		u, err := child{
			path:     path,
			args:     []string{"validate", "--config", b.path("config.yaml")},
			env:      env,
			dir:      b.dir,
			wantExit: exit,
		}.measure(ctx)
		if err != nil {
			return err
		}
		all = append(all, u)
	}
	b.printHeading(fmt.Sprintf("collector validate, %s accounts%s, offline", formatCount(*accounts), what))
	t := newTable("runs", "wall ms", "CPU ms", "peak RSS MiB")
	t.add(formatCount(*n), spreadOf(all, func(u usage) float64 { return seconds(u.wall) * 1e3 }).format(0),
		spreadOf(all, func(u usage) float64 { return seconds(u.cpu) * 1e3 }).format(0),
		spreadOf(all, func(u usage) float64 { return mebibytes(u.rss) }).format(0))
	t.print(b.stdout)
	return nil
}

// mistakes returns a configuration with three mistakes in each account, all different.
func mistakes(accounts int) []byte {
	var text bytes.Buffer
	text.WriteString("accounts:\n")
	for i := range accounts {
		fmt.Fprintf(&text, `  - name: account-%[1]d
    assume_role_arn: arn:aws:iam::%012[1]d:role/collector-readonly
    extra_tags: {account_name: account-%[1]d, team: platform}
    regons%[1]d: [us-east-1]
    collector_configs: {regions: [us-esat-%[1]d, eu-central-1], kinds: [ec2_instanc%[1]d]}
`, i)
	}
	return text.Bytes()
}
