package config

import "fmt"

// AddProfiles adds an account block for each of these profiles that profiles: names and that no block has yet. It is as
// if the file had the block {profile: NAME}: its name and fingerprint are the same. It returns an error if profiles:
// names none of them: a file that is missing must not look as if all accounts had been removed.
func (f *File) AddProfiles(names []string) error {
	if len(f.Profiles) == 0 {
		return nil
	}
	written, taken := map[string]bool{}, map[string]bool{}
	for i := range f.Accounts {
		written[f.Accounts[i].Profile], taken[f.Accounts[i].Name] = true, true
	}
	var added []*Account
	some := false
	for _, name := range Match(f.Profiles, names) {
		some = true
		if !written[name] {
			added = append(added, &Account{SignIn: SignIn{Profile: name}})
		}
	}
	if !some {
		return fmt.Errorf("profiles: the shared AWS files have no profile that matches %q", f.Profiles)
	}
	defaults := make([]string, len(added))
	for i, a := range added {
		a.Fingerprint = fingerprintOf([]string{"", "", "", a.Profile, "", "", ""})
		defaults[i] = signInName(&a.SignIn)
	}
	var used []string
	for name := range taken {
		used = append(used, name)
	}
	for i, name := range distinctNames(defaults, used, func(i int) string { return added[i].nameHash() }) {
		added[i].Name = name
		added[i].inherit(f)
		f.Accounts = append(f.Accounts, *added[i])
	}
	return nil
}
