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

	"github.com/aws-collector/collector/config/internal/yamldoc"
)

// nameAccounts names every block that has no name. The name depends on the block's contents and never on its position:
// removing a block must not rename another. formerNames maps these names to those of earlier versions.
func nameAccounts(blocks []*Account) (formerNames map[string]string) {
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
	formerNames = make(map[string]string, len(unnamed))
	for i, name := range distinctNames(names, taken, func(i int) string { return unnamed[i].nameHash() }) {
		formerNames[name], unnamed[i].Name = old[unnamed[i]], name
	}
	return formerNames
}

// signInName returns a name for a sign-in.
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

// distinctNames appends a part of the hash to each name that occurs more than once. Equal blocks sign in equally, to
// the same account: they get numbers.
func distinctNames(names, taken []string, hash func(i int) string) []string {
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
			name += "-" + hash(i)[:8]
		}
		out[i] = uniqueName(used, count, name)
	}
	return out
}

// nameHash distinguishes sign-ins with the same name. Blocks that assume a role of the same name in many accounts
// differ only in the account, which is not part of their Fingerprint.
func (a *SignIn) nameHash() string {
	text, err := json.Marshal([]string{a.Fingerprint, a.AccountID, a.Partition})
	if err != nil {
		panic(err) // a list of strings cannot fail
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// uniqueName returns the name, with a number appended if the name is in use. count holds the last number used for each
// name.
func uniqueName(used map[string]bool, count map[string]int, name string) string {
	out := name
	for used[out] {
		count[name] = max(count[name], 1) + 1
		out = name + "-" + strconv.Itoa(count[name])
	}
	used[out] = true
	return out
}

// positionalNames returns the names that earlier versions gave to blocks without a name.
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
		for n := 2; used[old[a]]; n++ { // another block may have the name account-2
			old[a] = name + "-" + strconv.Itoa(n)
		}
	}
	return old
}

// warnUnnamed warns of several blocks without a name: their names change when their sign-in changes.
func (d *decoder) warnUnnamed(blocks []*Account) {
	var lines []string
	var last yamldoc.Position
	for _, a := range blocks {
		if d.IsSet(&a.Name) || d.IsSet(yamldoc.Entry(&a.ExtraTags, "account_name")) || d.At(a).State != yamldoc.Valid {
			continue
		}
		last = d.At(a)
		lines = append(lines, strconv.Itoa(int(last.Line)))
	}
	if len(lines) < 2 {
		return
	}
	shown := lines
	if len(shown) > 10 {
		shown = append(slices.Clone(lines[:10]), fmt.Sprintf("%d more", len(lines)-10))
	}
	text := fmt.Sprintf("%d blocks have no name (lines %s): their names come from how they sign in, and change with it",
		len(lines), strings.Join(shown, ", "))
	d.Warn(last, text, "give each block a name")
}
