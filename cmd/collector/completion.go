package main

import (
	"context"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// bashWithoutPackage defines the two functions that cobra's script takes from the package bash-completion, if a shell
// does not have them. bash splits words at = and : too; they are joined again where no space stands between them.
const bashWithoutPackage = `# Without the package bash-completion, these do what the script below needs.
if ! declare -F _get_comp_words_by_ref >/dev/null; then
_get_comp_words_by_ref() {
    local rest=$COMP_LINE word spaced i n=0
    words=() cword=0
    for ((i = 0; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]}
        spaced=${rest#"${rest%%[![:space:]]*}"}
        if ((i > 0)) && [[ $spaced == "$rest" ]]; then
            words[n - 1]+=$word
        else
            words[n]=$word
            ((n += 1))
        fi
        rest=${spaced#"$word"}
        if ((i == COMP_CWORD)); then cword=$((n - 1)); fi
    done
    cur=${words[cword]} prev=
    if ((cword > 0)); then prev=${words[cword - 1]}; fi
}
fi
if ! declare -F __ltrim_colon_completions >/dev/null; then
__ltrim_colon_completions() {
    local i before=${1%"${1##*:}"}
    if [[ $1 == *:* && $COMP_WORDBREAKS == *:* ]]; then
        for ((i = 0; i < ${#COMPREPLY[@]}; i++)); do COMPREPLY[i]=${COMPREPLY[i]#"$before"}; done
    fi
}
fi

`

func (c *cli) completionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the completion script of a shell",
		Long: `Prints a script that completes commands, flags and their values: kinds, accounts, regions, ids, columns and
formats. Accounts and regions come from the configuration and the store, ids from the store.`,
		Example: `  source <(collector completion bash)
  collector completion zsh > "${fpath[1]}/_collector"
  collector completion fish > ~/.config/fish/completions/collector.fish
  collector completion powershell | Out-String | Invoke-Expression`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, shell := range []struct {
		name  string
		write func(root *cobra.Command, w io.Writer) error
	}{
		{"bash", func(root *cobra.Command, w io.Writer) error {
			if _, err := io.WriteString(w, bashWithoutPackage); err != nil {
				return err
			}
			return root.GenBashCompletionV2(w, true)
		}},
		{"zsh", func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) }},
		{"fish", func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) }},
		{"powershell", func(root *cobra.Command, w io.Writer) error {
			return root.GenPowerShellCompletionWithDesc(w)
		}},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: shell.name, Short: "Print the script for " + shell.name, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return shell.write(cmd.Root(), c.stdout) },
		})
	}
	return cmd
}

// addCompletions lets commands complete the values of their flags and arguments.
func (c *cli) addCompletions(root *cobra.Command) {
	flags := map[string]func(*cobra.Command, string) []string{
		"kind": c.completeKinds, "account": c.completeAccounts, "region": c.completeRegions,
		"columns": completeFields, "sort": completeFields, "output": completeFormats, "status": completeStatuses,
		"group-by":  func(*cobra.Command, string) []string { return []string{"account", "region", "tag:"} },
		"log-level": func(*cobra.Command, string) []string { return []string{"debug", "info", "warn", "error"} },
		"log-format": func(*cobra.Command, string) []string {
			return []string{"text", "json"}
		},
	}
	arguments := map[string]func(*cobra.Command, string) []string{
		"list": c.completeKinds, "query": c.completeQueries, "get": c.completeIDs, "history": c.completeIDs,
		"explain": c.completeAccounts, "accept": c.completeAccounts, "login": c.completeAccounts,
		"runs": c.completeRuns, "start": c.completeAccounts,
		"cancel": c.completeAccounts, "pause": c.completeAccounts, "resume": c.completeAccounts,
		"acknowledge": c.completeAccounts,
	}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for name, complete := range flags {
			if cmd.Flags().Lookup(name) != nil || cmd == root && cmd.PersistentFlags().Lookup(name) != nil {
				// its error is that of a flag that does not exist
				_ = cmd.RegisterFlagCompletionFunc(name, asList(complete))
			}
		}
		if complete, ok := arguments[cmd.Name()]; ok && cmd.Parent() == root && cmd.ValidArgsFunction == nil {
			one := asList(complete)
			cmd.ValidArgsFunction = func(
				cmd *cobra.Command, args []string, text string,
			) ([]cobra.Completion, cobra.ShellCompDirective) {
				if len(args) > 0 {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return one(cmd, args, text)
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// asList completes the last item of a list that is separated by commas.
func asList(complete func(*cobra.Command, string) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, text string) ([]cobra.Completion, cobra.ShellCompDirective) {
		i := strings.LastIndexByte(text, ',') + 1
		before, last := text[:i], text[i:]
		var found []cobra.Completion
		directive := cobra.ShellCompDirectiveNoFileComp
		for _, value := range complete(cmd, last) {
			if strings.HasPrefix(value, last) {
				found = append(found, before+value)
				if strings.HasSuffix(value, ".") || strings.HasSuffix(value, ":") { // more must follow
					directive |= cobra.ShellCompDirectiveNoSpace
				}
			}
		}
		return found, directive
	}
}

func completeFields(*cobra.Command, string) []string {
	return append(query.AllFields(), "tags.", "extra_tags.", "data.")
}

func completeStatuses(*cobra.Command, string) (all []string) {
	for _, s := range record.Statuses {
		all = append(all, string(s))
	}
	return all
}

// formatNames finds the formats in the usage of a flag: "FORMAT: table, json or csv".
var formatNames = regexp.MustCompile(`\b(table|wide|json|jsonl|csv|yaml|parquet|terraform|cloudformation)\b`)

func completeFormats(cmd *cobra.Command, _ string) []string {
	all := formatNames.FindAllString(cmd.Flags().Lookup("output").Usage, -1)
	slices.Sort(all)
	return slices.Compact(all)
}

// completeKinds takes the short form of a kind where the text begins so.
func (c *cli) completeKinds(_ *cobra.Command, text string) (all []string) {
	for _, k := range account.Catalogue() {
		short := strings.TrimPrefix(k.Kind, k.Service+"_")
		if text != "" && strings.HasPrefix(short, text) && !slices.Contains(all, short) { // two services have instances
			all = append(all, short)
		}
		all = append(all, k.Kind)
	}
	return all
}

// completionTimeout bounds what a person waits for who presses Tab.
const completionTimeout = 2 * time.Second

// completeFromStore reads values from the store. A completion prints no error: there are no values then.
func (c *cli) completeFromStore(cmd *cobra.Command, read func(context.Context, inventory.Store) error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	l, err := store.Locate(ctx, c.config)
	if err != nil {
		return
	}
	_ = l.Read(ctx, func(r inventory.Store) error { return read(ctx, r) })
}

func (c *cli) completeAccounts(cmd *cobra.Command, _ string) (all []string) {
	if f, err := c.config.Parse(cmd.Context()); err == nil {
		for i := range f.Accounts {
			all = append(all, f.Accounts[i].Name)
		}
	}
	c.completeFromStore(cmd, func(ctx context.Context, r inventory.Store) error {
		for in, err := range r.SignIns(ctx) {
			if err != nil {
				return err
			}
			all = append(all, in.Account)
		}
		return nil
	})
	slices.Sort(all)
	return slices.Compact(all)
}

func (c *cli) completeRegions(cmd *cobra.Command, _ string) (all []string) {
	if f, err := c.config.Parse(cmd.Context()); err == nil {
		for i := range f.Accounts {
			for _, r := range f.Accounts[i].Collect.Regions {
				if _, isName := record.PartitionOf(r); isName {
					all = append(all, r)
				}
			}
		}
	}
	c.completeFromStore(cmd, func(ctx context.Context, r inventory.Store) error {
		for t, err := range r.Targets(ctx) {
			if err != nil {
				return err
			}
			all = append(all, t.Region)
		}
		return nil
	})
	if len(all) == 0 {
		all = slices.Clone(record.Partitions[0].Regions)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// completedIDs is the number of ids that a person can choose from.
const completedIDs = 200

var idPrefix = regexp.MustCompile(`^[a-z]+-[0-9a-z]*$`)

// completeIDs completes ids from their kind's prefix on: i-0ab.
func (c *cli) completeIDs(cmd *cobra.Command, text string) (all []string) {
	if !idPrefix.MatchString(text) {
		return nil
	}
	where, err := inventory.ParseWhere("id~'"+text+"*'", time.Now())
	if err != nil {
		return nil
	}
	c.completeFromStore(cmd, func(ctx context.Context, r inventory.Store) error {
		for res, err := range r.Find(ctx, inventory.Query{Where: where, Limit: completedIDs}) {
			if err != nil {
				return err
			}
			all = append(all, res.ID)
		}
		return nil
	})
	return all
}

func (c *cli) completeRuns(cmd *cobra.Command, _ string) (all []string) {
	c.completeFromStore(cmd, func(ctx context.Context, r inventory.Store) error {
		for run, err := range r.Runs(ctx, inventory.RunQuery{Limit: completedIDs}) {
			if err != nil {
				return err
			}
			all = append(all, run.ID)
		}
		return nil
	})
	return all
}
