package auth

import (
	"cmp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// Inspect looks at what the blocks sign in by that is not in the configuration: profiles, the shared AWS files and the
// environment. It calls nobody. Where an account is refused for it, the flaw is marked as used; the rest is for
// somebody to know: what the default chain would go by, and lines that mean nothing.
func Inspect(o LoadOptions, blocks []config.Account) []Flaw {
	if o.Isolated {
		return nil
	}
	l := &loader{opts: o}
	l.env, l.flaws = readEnvironment(o.Getenv)
	getenv := o.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	i := inspection{loader: l, files: l.readSharedFiles(), env: l.environment(getenv)}
	named := map[string]bool{}
	chain := false
	for _, a := range blocks {
		switch {
		case a.Profile != "":
			named[a.Profile] = true
		case a.AKID == "" && a.AKSecret.IsZero() && a.CredentialSource == "":
			chain = true
		}
	}
	for _, f := range l.flaws {
		f.Used = chain
		i.all = append(i.all, f)
	}
	i.all = append(i.all, i.files.flaws...)
	i.chain(chain, named)
	for name := range named {
		i.profile(name, true)
	}
	slices.SortFunc(i.all, func(a, b Flaw) int { return cmp.Compare(a.Error(), b.Error()) })
	return slices.CompactFunc(i.all, func(a, b Flaw) bool { return a.Error() == b.Error() && a.Used == b.Used })
}

type inspection struct {
	*loader
	files *sharedFiles
	env   environment
	all   []Flaw
}

// profile looks whether a profile leads anywhere, and at its settings.
func (i *inspection) profile(name string, used bool) {
	i.settings(name, used)
	_, err := i.files.findRoute(i.loader, name, environment{})
	// Where there is no AWS file at all, the configuration is looked at on another machine than the one that it is for.
	i.add(err, used && (len(i.files.found) > 0 || i.files.profiles[name] != nil))
}

// chain looks at the default chain, also where no account goes by it: the one who set it up may not know.
func (i *inspection) chain(used bool, named map[string]bool) {
	name := firstNonEmpty(firstNonEmpty(i.env.profile, i.env.defaultProfile), "default")
	env := i.env
	if !used {
		// of the files alone: is the profile good for anybody?
		env.key, env.incompleteKey, env.webIdentity = aws.Credentials{}, false, webIdentity{}
	}
	if byKey := env.key.HasKeys(); !named[name] {
		i.settings(name, used && !byKey)
	}
	if _, err := i.files.findRoute(i.loader, "", env); err != nil && (used || !named[name]) {
		i.add(err, used)
	}
}

func (i *inspection) settings(name string, used bool) {
	for _, f := range i.settingFlaws(i.files.profiles[name]) {
		f.Used = used && f.harmful
		i.all = append(i.all, f)
	}
}

func (i *inspection) add(err error, used bool) {
	if err != nil {
		i.all = append(i.all, Flaw{Text: err.Error(), Hint: record.HintOf(err), Used: used})
	}
}
