package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/query"
)

// explainArguments makes every command say what it takes if its arguments are wrong.
func explainArguments(cmd *cobra.Command) {
	if allowed := cmd.Args; allowed != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if allowed(cmd, args) == nil {
				return nil
			}
			return usageError(argumentsError(cmd, args))
		}
	}
	for _, sub := range cmd.Commands() {
		explainArguments(sub)
	}
}

func argumentsError(cmd *cobra.Command, args []string) error {
	name := cmd.CommandPath()
	_, takes, _ := strings.Cut(cmd.Use, " ")
	switch {
	case cmd.HasSubCommands():
		return unknownCommand(cmd, args[0])
	case len(cmd.ValidArgs) > 0:
		return fmt.Errorf("%s takes one of %s, got %q", name, strings.Join(cmd.ValidArgs, ", "), args)
	case takes == "" || strings.HasPrefix(takes, "-"):
		err := fmt.Errorf("%s takes no argument, got %q", name, args[0])
		if ext := filepath.Ext(args[0]); ext == ".yaml" || ext == ".yml" {
			err = fmt.Errorf("%w; write --config %s to name the configuration", err, args[0])
		}
		return err
	case len(args) == 0:
		return fmt.Errorf("%s needs %s; see %q", name, takes, name+" --help")
	}
	return fmt.Errorf("%s takes one argument, %s, got %d: %q; quote an argument that has spaces",
		name, takes, len(args), args)
}

func unknownCommand(cmd *cobra.Command, arg string) error {
	err := fmt.Errorf("unknown command %q for %q", arg, cmd.CommandPath())
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	switch near := query.Nearest(arg, names); {
	case near != "":
		return fmt.Errorf("%w; did you mean %s?", err, near)
	case looksLikeID(arg):
		return fmt.Errorf("%w; run %q to show a resource", err, "collector get "+arg)
	}
	slices.Sort(names)
	return fmt.Errorf("%w; its commands are %s", err, strings.Join(names, ", "))
}

// looksLikeID reports whether a text may be the id of a resource, such as i-0123456789abcdef0: no kind and no command
// has both a hyphen and a digit.
func looksLikeID(s string) bool {
	return strings.Contains(s, "-") && strings.ContainsAny(s, "0123456789")
}

// helpWidth is the width of help, in columns.
const helpWidth = 120

// wrapHelp limits the width of the flags in the help of all commands.
func wrapHelp(root *cobra.Command) {
	root.SetUsageTemplate(strings.ReplaceAll(
		root.UsageTemplate(), "FlagUsages |", fmt.Sprintf("FlagUsagesWrapped %d |", helpWidth),
	))
}
