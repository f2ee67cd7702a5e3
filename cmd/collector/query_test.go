package main

import (
	"encoding/csv"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"pgregory.net/rapid"

	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/query"
)

// A question is the same as flags, as a URL and as values.
func TestFlagsAndURLsAskTheSame(t *testing.T) {
	commands := map[string][]query.Parameter{
		"list":    resourceParameters(query.Search, query.Where, query.At, query.Fields, query.Limit),
		"diff":    resourceParameters(query.Where, query.From, query.To),
		"changes": resourceParameters(query.Where, query.ChangesSince),
		"runs":    {query.Account, query.RunsSince, query.Status, query.Limit},
		"status":  {query.Account, query.Region, query.Problems},
	}
	samples := map[string]*rapid.Generator[string]{
		"kind":     rapid.SampledFrom([]string{"instance", "ec2_volume", "volumes", "vpc*", "!ec2_image", "*"}),
		"account":  rapid.StringMatching(`!?[a-zé"'&=%+ ,*?-]{1,12}`),
		"region":   rapid.SampledFrom([]string{"us-east-1", "eu-*", "!ap-*"}),
		"where":    rapid.SampledFrom([]string{"state=running", "tags.team in (a, 'b, c') and not data.X~'*&x=1'", "id!=a"}),
		"q":        rapid.StringMatching(`[a-zé"'&=%+ ,*?:.-]{1,12}`),
		"at":       rapid.SampledFrom([]string{"3d", "2026-11-01", "2026-11-01T08:00+02:00"}),
		"fields":   rapid.SampledFrom([]string{"id", "tags.a=b&c", "data.State.Name"}),
		"from":     rapid.SampledFrom([]string{"3d", "2026-11-01"}),
		"to":       rapid.SampledFrom([]string{"1h", "2026-11-02"}),
		"since":    rapid.SampledFrom([]string{"90m", "2026-11-01"}),
		"status":   rapid.SampledFrom([]string{"failed", "running", "success"}),
		"limit":    rapid.SampledFrom([]string{"0", "1", "20"}),
		"problems": rapid.SampledFrom([]string{"true", "false"}),
	}
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		for name, parameters := range commands {
			want := url.Values{}
			var args []string
			for i := range parameters {
				p := &parameters[i]
				for range rapid.IntRange(0, 2).Draw(t, p.Name) {
					value := samples[p.Name].Draw(t, p.Name)
					if p.List {
						value = quoted(t, value)
					} else if want.Has(p.Name) {
						continue
					}
					want.Add(p.Name, value)
					args = append(args, "--"+p.FlagName()+"="+value)
				}
			}
			q := queryFlags{}
			cmd := &cobra.Command{Use: name, RunE: func(*cobra.Command, []string) error { return nil }}
			q.addFlags(cmd, parameters...)
			q.now = now
			cmd.SetArgs(args)
			if err := cmd.Execute(); err != nil {
				t.Fatalf("%q: %v", args, err)
			}
			asFlags, errFlags := q.question()
			values, err := url.ParseQuery(want.Encode())
			if err != nil {
				t.Fatal(err)
			}
			asURL, errURL := query.Parse(values, parameters, query.Options{Now: now, Kinds: account.Catalogue()})
			if (errFlags == nil) != (errURL == nil) || !reflect.DeepEqual(asFlags, asURL) {
				t.Errorf("%q:\n%+v %v\n%+v %v", args, asFlags, errFlags, asURL, errURL)
			}
		}
	})
}

// quoted writes a value of a list so that a comma does not part it.
func quoted(t *rapid.T, value string) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	if err := w.Write([]string{value}); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}
