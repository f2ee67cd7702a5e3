package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// nameAccounts gives a name to every block that has none, by what the block says and never by its position: a block
// that is removed must not make another one take its name. formerly is what versions before called them, by their
// names of today.
func nameAccounts(blocks []*Account) (formerly map[string]string) {
	var taken []string
	var unnamed []*Account
	for _, a := range blocks {
		if a.Name == "" {
			a.Name = a.ExtraTags["account_name"]
		}
		if a.Name == "" {
			unnamed = append(unnamed, a)
			continue
		}
		taken = append(taken, a.Name)
	}
	old := positionalNames(blocks, taken)
	names := make([]string, len(unnamed))
	for i, a := range unnamed {
		names[i] = signInName(&a.SignIn)
	}
	formerly = make(map[string]string, len(unnamed))
	for i, name := range distinctNames(names, taken, func(i int) string { return unnamed[i].nameDigest() }) {
		formerly[name], unnamed[i].Name = old[unnamed[i]], name
	}
	return formerly
}

// signInName is what a sign-in is called that nobody has named.
func signInName(s *SignIn) string {
	name := cmp.Or(sanitizeName(s.Profile), s.KnownAccountID())
	if name != "" && !strings.HasPrefix(name, OrganizationPrefix) {
		return name
	}
	switch {
	case s.AKID != "" || !s.AKSecret.IsZero():
		return "key"
	case s.CredentialSource == "Ec2InstanceMetadata":
		return "instance"
	case s.CredentialSource == "EcsContainer":
		return "container"
	case s.CredentialSource != "":
		return strings.ToLower(sanitizeName(s.CredentialSource))
	}
	return "default"
}

// distinctNames puts a piece of its mark behind each name that is not the only one. Blocks that are alike still sign in
// alike, to the same account: those are counted.
func distinctNames(names, taken []string, mark func(i int) string) []string {
	repeated, used := map[string]int{}, map[string]bool{}
	for _, name := range names {
		repeated[name]++
	}
	for _, name := range taken {
		repeated[name]++
		used[name] = true
	}
	out, count := make([]string, len(names)), map[string]int{}
	for i, name := range names {
		if repeated[name] > 1 {
			name += "-" + mark(i)[:8]
		}
		out[i] = uniqueName(used, count, name)
	}
	return out
}

// nameDigest tells sign-ins of one name from each other. Those through one role name in many accounts are written alike but
// for the account, which their marks leave out.
func (a *SignIn) nameDigest() string {
	text, err := json.Marshal([]string{a.Digest, a.AccountID, a.Partition})
	if err != nil {
		panic(err) // a list of texts
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// uniqueName is the name, or with the first number behind it that nobody has. count is how far each name was counted.
func uniqueName(used map[string]bool, count map[string]int, name string) string {
	out := name
	for used[out] {
		count[name] = max(count[name], 1) + 1
		out = name + "-" + strconv.Itoa(count[name])
	}
	used[out] = true
	return out
}

// positionalNames is what earlier versions called the blocks that have no name.
func positionalNames(blocks []*Account, taken []string) map[*Account]string {
	used, old := map[string]bool{}, map[*Account]string{}
	for _, name := range taken {
		used[name] = true
	}
	for i, a := range blocks {
		if a.Name != "" {
			continue
		}
		name := "account-" + strconv.Itoa(i+1)
		old[a] = name
		for n := 2; used[old[a]]; n++ { // somebody may have called another block account-2
			old[a] = name + "-" + strconv.Itoa(n)
		}
	}
	return old
}

// warnUnnamed warns of blocks without a name where there are several: their names change with how they sign in.
func (d *decoder) warnUnnamed(blocks []*Account) {
	var lines []string
	var last position
	for _, a := range blocks {
		if d.isSet(&a.Name) || d.isSet(mapEntry{&a.ExtraTags, "account_name"}) || d.positions[a].state != valid {
			continue
		}
		last = d.positions[a]
		lines = append(lines, strconv.Itoa(int(last.line)))
	}
	if len(lines) < 2 {
		return
	}
	shown := lines
	if len(shown) > 10 {
		shown = append(slices.Clone(lines[:10]), fmt.Sprintf("%d more", len(lines)-10))
	}
	d.warn(last, fmt.Sprintf("%d blocks have no name (lines %s): each is called after how it signs in, and its name changes with that",
		len(lines), strings.Join(shown, ", ")), "give each block a name")
}
