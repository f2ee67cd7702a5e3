package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
)

// The help of each command fits into a terminal of 120 columns and shows no empty default, and each command says what
// it takes.
func TestHelp(t *testing.T) {
	var out bytes.Buffer
	source := &configfile.Source{Getenv: func(string) string { return "" }}
	c := &cli{config: source, stdout: &out, stderr: &out}
	root := c.root(nil)
	var each func(cmd *cobra.Command)
	each = func(cmd *cobra.Command) {
		out.Reset()
		if err := cmd.Help(); err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > helpWidth {
				t.Errorf("%s: %d columns: %s", cmd.CommandPath(), n, line)
			}
			if strings.Contains(line, "(default [])") {
				t.Errorf("%s: an empty default is shown: %s", cmd.CommandPath(), line)
			}
		}
		if cmd.Args != nil {
			err := cmd.Args(cmd, []string{"a", "b", "c"})
			if err == nil || !isUsageError(err) && !strings.HasPrefix(err.Error(), cmd.CommandPath()+" takes ") {
				t.Errorf("%s: %v", cmd.CommandPath(), err)
			}
		}
		for _, sub := range cmd.Commands() {
			if !sub.IsAdditionalHelpTopicCommand() { // a page, with tables
				each(sub)
			}
		}
	}
	each(root)
}
