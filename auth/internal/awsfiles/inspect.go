package awsfiles

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// Inspect checks what the blocks use to sign in outside of the configuration: profiles, the shared AWS files and the
// environment. It makes no calls. A problem that makes an account fail is marked as used. The others are for
// information: they are in a default chain that no account uses, or in lines that have no effect.
func Inspect(o Options, blocks []config.Account) []Problem {
	if o.Isolated {
		return nil
	}
	l := NewSource(o)
	i := inspection{files: l.Read(), env: l.Environment(l.getenv)}
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
	for _, f := range l.Problems {
		f.Used = chain
		i.all = append(i.all, f)
	}
	i.all = append(i.all, i.files.problems...)
	i.chain(chain, named)
	for name := range named {
		i.profile(name, true)
	}
	slices.SortFunc(i.all, func(a, b Problem) int { return cmp.Compare(a.Error(), b.Error()) })
	return slices.CompactFunc(i.all, func(a, b Problem) bool { return a.Error() == b.Error() && a.Used == b.Used })
}

type inspection struct {
	files *Files
	env   Environment
	all   []Problem
}

// profile checks whether a profile leads to credentials, and its settings.
func (i *inspection) profile(name string, used bool) {
	i.settings(name, used)
	_, err := i.files.findRoute(name, Environment{})
	// Without any AWS file, this is probably not the machine that the configuration is for.
	i.add(err, used && (len(i.files.found) > 0 || i.files.profiles[name] != nil))
}

// chain checks the default chain, even if no account uses it: the person who set it up may not know that it fails.
func (i *inspection) chain(used bool, named map[string]bool) {
	name := cmp.Or(cmp.Or(i.env.profile, i.env.defaultProfile), "default")
	env := i.env
	if !used {
		// Only the files: can the profile be used at all?
		env.Key, env.incompleteKey, env.webIdentity = aws.Credentials{}, false, WebIdentity{}
	}
	byKey := env.Key.HasKeys()
	if !named[name] {
		i.settings(name, used && !byKey)
	}
	if _, err := i.files.findRoute("", env); err != nil && (used || !named[name]) {
		i.add(err, used)
	}
}

func (i *inspection) settings(name string, used bool) {
	for _, f := range i.files.SettingProblems(name) {
		f.Used = used && f.failsSignIn
		i.all = append(i.all, f)
	}
}

func (i *inspection) add(err error, used bool) {
	if err != nil {
		i.all = append(i.all, Problem{Text: err.Error(), Hint: record.HintOf(err), Used: used})
	}
}

// A SecretFile is a file that holds a secret with which profiles sign in.
type SecretFile struct{ Path, What string }

// SecretFiles returns the files behind profiles: tokens of web identities and of IAM Identity Center, and the shared
// files with a secret key.
func SecretFiles(o Options, profiles []string) (all []SecretFile) {
	if len(profiles) == 0 {
		return nil
	}
	files := NewSource(o).Read()
	add := func(path, what string) { all = append(all, SecretFile{path, what}) }
	tokensAdded := false // of IAM Identity Center
	for _, name := range profiles {
		p := files.profiles[name]
		if p == nil {
			continue
		}
		if token := p.Get("web_identity_token_file"); token != "" {
			add(token, "the web identity of profile "+name)
		}
		if !tokensAdded && (p.Has("sso_session") || p.Has("sso_start_url")) {
			tokensAdded = true
			dir := filepath.Join(filepath.Dir(awsconfig.DefaultSharedConfigFilename()), "sso", "cache")
			entries, _ := os.ReadDir(dir) // a missing directory has no entries
			for _, e := range entries {
				if strings.HasSuffix(e.Name(), ".json") {
					add(filepath.Join(dir, e.Name()), "the token of profile "+name)
				}
			}
		}
	}
	for _, file := range files.found {
		text, _ := readSharedFile(file)         // again: an ignored section may have a key, too
		for line := range strings.Lines(text) { // an unreadable file has none
			if key, _, _ := splitKeyValue(line); key == "aws_secret_access_key" {
				add(file, "the file with profile "+profiles[0])
				break
			}
		}
	}
	return all
}
