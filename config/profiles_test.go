package config

import (
	"slices"
	"strings"
	"testing"
)

func accountNamesOf(f *File) (names []string) {
	for i := range f.Accounts {
		names = append(names, f.Accounts[i].Name)
	}
	return names
}

// A profile that is found is the block that a person would have written.
func TestAddProfiles(t *testing.T) {
	f, err := load([]byte(`profiles: ["*", "!dev-*"]
schedule: "@daily"
collector_configs: {regions: [eu-west-1]}
accounts:
  - {name: main, profile: hub}
  - {name: prod, ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: "`+exampleSecret+`"}
`), "profiles.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.AddProfiles([]string{"default", "dev-1", "hub", "prod", "stage"}); err != nil {
		t.Fatal(err)
	}
	names := accountNamesOf(f)
	if len(names) != 5 || !slices.Equal(names[:3], []string{"main", "prod", "default"}) ||
		!strings.HasPrefix(names[3], "prod-") || names[4] != "stage" { // prod is the name of another account
		t.Errorf("%q", names)
	}
	written, err := load([]byte(`accounts: [{profile: stage}]
schedule: "@daily"
collector_configs: {regions: [eu-west-1]}
`), "written.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, want := f.Accounts[4], written.Accounts[0]
	if got.Name != want.Name || got.Fingerprint != want.Fingerprint || got.Schedule != want.Schedule ||
		!slices.Equal(got.Collect.Regions, want.Collect.Regions) || got.Profile != "stage" {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// One line is a configuration, and profiles that are not there are an error.
func TestProfilesAlone(t *testing.T) {
	f, err := load([]byte(`profiles: ["*"]`), "profiles.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.AddProfiles(nil); err == nil || !strings.Contains(err.Error(), `no profile that matches ["*"]`) {
		t.Errorf("%v", err)
	}
	if err := f.AddProfiles([]string{"hub"}); err != nil || !slices.Equal(accountNamesOf(f), []string{"hub"}) {
		t.Errorf("%q, %v", accountNamesOf(f), err)
	}
	if _, err := load([]byte(`profiles: []`), "profiles.yaml"); err == nil {
		t.Error("an empty list is taken")
	}
}
