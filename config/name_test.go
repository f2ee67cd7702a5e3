package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The name of a block without a name key comes from its other keys, in this order.
func TestDefaultNames(t *testing.T) {
	key := `ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: "${env:S}"`
	for block, want := range map[string]string{
		`{name: n, extra_tags: {account_name: t}, profile: p}`:               "n",
		`{extra_tags: {account_name: t}, profile: p}`:                        "t",
		`{extra_tags: {team: t}, profile: p, account_id: "111111111111"}`:    "p",
		`{profile: "${env:PROFILE}"}`:                                        "aws1",
		`{profile: "a*b?"}`:                                                  "a_b_",
		`{profile: "organization:x"}`:                                        "default",
		`{` + key + `, assume_role_arn: "arn:aws:iam::222222222222:role/r"}`: "222222222222",
		`{assume_roles: [{assume_role_arn: "arn:aws:iam::222222222222:role/r"}, ` +
			`{assume_role_arn: "arn:aws:iam::333333333333:role/r"}]}`: "333333333333",
		`{` + key + `, account_id: "222222222222", role: r}`: "222222222222",
		`{` + key + `, account_id: "111111111111"}`:          "111111111111",
		`{` + key + `}`: "key",
		`{credential_source: Ec2InstanceMetadata}`: "instance",
		`{credential_source: EcsContainer}`:        "container",
		`{credential_source: Environment}`:         "environment",
		`{extra_tags: {team: t}}`:                  "default",
	} {
		checkEqual(t, block, mapAccounts(loadNames(t, block), func(a Account) string { return a.Name }), []string{want})
	}
}

func loadNames(t *testing.T, blocks ...string) *File {
	t.Helper()
	f, err := Parse([]byte("accounts:\n  - "+strings.Join(blocks, "\n  - ")+"\n"), "c.yaml", testRegistry())
	if err == nil {
		vars := map[string]string{
			"PROFILE": "aws1",
			"S":       exampleSecret,
			"ID":      "AKIAIOSFODNN7EXAMPLE",
			"ARN":     "arn:aws:iam::222222222222:role/r",
		}
		env := func(name string) (string, bool) {
			v, ok := vars[name]
			return v, ok
		}
		err = f.Resolve(env, func(string) ([]byte, error) { return []byte(exampleSecret), nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Removing, adding or moving a block does not change the names of other blocks, even if names repeat.
func TestNamesDoNotDependOnPosition(t *testing.T) {
	blocks := []string{`{profile: a}`, `{profile: b}`, `{assume_role_arn: "arn:aws:iam::222222222222:role/r"}`,
		`{assume_role_arn: "arn:aws:iam::222222222222:role/other"}`,
		`{assume_role_arn: "arn:aws:iam::222222222222:role/third"}`,
		`{ak_id: "${env:ID}", ak_secret: "${env:S}"}`, `{extra_tags: {x: y}}`,
		`{profile: one, account_id: "333333333333", role: r}`, `{profile: one, account_id: "444444444444", role: r}`,
		`{profile: one, account_id: "555555555555", role: r}`,
		`{profile: one, account_id: "555555555555", role: r, partition: aws-cn, collector_configs: {regions: [cn-north-1]}}`}
	names := func(blocks []string) map[string]string {
		by := map[string]string{}
		for i, a := range loadNames(t, blocks...).Accounts {
			by[blocks[i]] = a.Name
		}
		return by
	}
	all := names(blocks)
	for i := range blocks {
		left := slices.Concat(blocks[:i], blocks[i+1:])
		slices.Reverse(left)
		want := maps.Clone(all)
		delete(want, blocks[i])
		checkEqual(t, "without "+blocks[i], names(left), want)
	}
	checkEqual(t, "formerly", loadNames(t, blocks...).FormerNames["b"], "account-2")
}

// Two blocks without a name cause a warning with their lines; one does not.
func TestUnnamedWarning(t *testing.T) {
	checkEqual(t, "one", len(loadNames(t, `{profile: a}`, `{name: b}`).Warnings), 0)
	checkEqual(t, "tagged", len(loadNames(t, `{profile: a}`, `{extra_tags: {account_name: b}}`).Warnings), 0)
	w := loadNames(t, `{profile: a}`, `{name: n, profile: a}`, `{profile: b}`).Warnings
	if len(w) != 1 || w[0].Line != 4 || !strings.Contains(w[0].Text, "lines 2, 4") {
		t.Errorf("got %v", w)
	}
	w = loadNames(t, strings.Split(strings.Repeat(`{profile: a}|`, 29)+`{profile: a}`, "|")...).Warnings
	if len(w) != 1 || !strings.Contains(w[0].Text, "20 more") {
		t.Errorf("got %v", w)
	}
}

// The fingerprint of a sign-in depends on the text of its profile, keys, roles and references. It does not depend on
// the value of a reference, a name, a schedule or account_id, nor on secrets in the file.
func TestSignInDigest(t *testing.T) {
	fingerprint := func(block string) string {
		a := loadNames(t, block).Accounts[0]
		return a.Fingerprint
	}
	for _, c := range []struct {
		one, other string
		same       bool
	}{
		{`{profile: a}`, `{profile: a, name: n, schedule: "@hourly", extra_tags: {x: y}, account_id: "111111111111", ` +
			`sts_region: eu-west-1}`, true},
		{`{profile: a}`, `{profile: b}`, false},
		{`{profile: "${env:PROFILE}"}`, `{profile: aws1}`, false},
		{`{profile: "x${env:PROFILE}"}`, `{profile: "y${env:PROFILE}"}`, false},
		{`{ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: "` + exampleSecret + `"}`,
			`{ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: "` + strings.ToUpper(exampleSecret) + `"}`, true},
		{`{ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: "${file:/a}"}`,
			`{ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: "${file:/b}"}`, false},
		{`{ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: "${file:/a}"}`,
			`{ak_id: AKIAI44QH8DHBEXAMPLE, ak_secret: "${file:/a}"}`, false},
		{`{assume_role_arn: "${env:ARN}"}`, `{assume_role_arn: "arn:aws:iam::222222222222:role/r"}`, false},
		{`{assume_role_arn: "arn:aws:iam::222222222222:role/r"}`,
			`{assume_role_arn: "arn:aws:iam::222222222222:role/r", external_id: word}`, true},
		{`{credential_source: Environment}`, `{}`, false},
	} {
		if got := fingerprint(c.one) == fingerprint(c.other); got != c.same {
			t.Errorf("%s and %s: same %t, want %t", c.one, c.other, got, c.same)
		}
	}
	o := organization(t, "organizations:\n  - {via: {profile: management}, role: r}\n")
	if o.Via.Fingerprint == "" || o.Via.Fingerprint != fingerprint(`{profile: management}`) {
		t.Errorf("an organization's sign-in has the fingerprint %q", o.Via.Fingerprint)
	}
	as, err := o.MemberAccounts(via, []Member{{ID: "222222222222"}, {ID: via.AccountID}})
	if err != nil || fmt.Sprint(as[0].Fingerprint, as[1].Fingerprint) != "" {
		t.Errorf("members have fingerprints: %v", err)
	}
}

// The fingerprints of released versions must never change: data_dir/identities.json has them. With another fingerprint,
// a block has no account so far, and the account behind it could be swapped without an error.
func TestFingerprintsStay(t *testing.T) {
	for block, want := range map[string]string{
		`{}`:           "1d20f785ded1e360e8a68d7b",
		`{profile: a}`: "0c0dac43e4853a9b34bfaf91",
		`{credential_source: Ec2InstanceMetadata}`:                                              "6823abf3ea3d81a212ab9820",
		`{ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: "${env:S}"}`:                                  "5a11f06f79ce95cf309f4427",
		`{ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: ` + exampleSecret + `}`:                       "2402f5aaed9d6565f66546da",
		`{ak_id: ASIAIOSFODNN7EXAMPLE, ak_secret: "${env:S}", session_token: "${file:/run/t}"}`: "9b4eac32194076f6b00a3853",
		`{profile: a, assume_role_arn: "arn:aws:iam::222222222222:role/r"}`:                     "3613fe92331b726a36a59599",
		`{profile: a, account_id: "222222222222", role: r}`:                                     "563fb3c42c10eacc569a51b6",
		`{assume_roles: [{assume_role_arn: "arn:aws:iam::222222222222:role/r"}, ` +
			`{assume_role_arn: "arn:aws:iam::333333333333:role/s"}]}`: "01db89d0527a6685c4401ed4",
		`{profile: "${env:PROFILE}"}`: "158e831983150e9f7ae3e907",
	} {
		if got := loadNames(t, block).Accounts[0].Fingerprint; got != want {
			t.Errorf("%s has the fingerprint %q, want %q", block, got, want)
		}
	}
}

// A new key of a sign-in must be added to one of these lists.
func TestFingerprintCoversKeys(t *testing.T) {
	decides := "AKID AKSecret SessionToken Profile CredentialSource Role Roles RoleName"
	not := "AccountID Partition IsGlobal RequireRole STSRegion SerialNumber TOTPSeed TokenCommand TokenCode " +
		"MFASessionDuration Fingerprint"
	for _, f := range reflect.VisibleFields(reflect.TypeFor[SignIn]()) {
		if len(f.Index) == 1 && !slices.Contains(strings.Fields(decides+" "+not), f.Name) {
			t.Errorf("%s: if it determines whose credentials a sign-in has, add it to decoder.fingerprint", f.Name)
		}
	}
}
