package config

import (
	"slices"
	"strconv"
	"time"
)

// Defaults is the file that says nothing, but for its accounts. Outputs are stdout where Known has it.
func Defaults() File {
	yes := true
	return File{
		Schedule:     "*/15 * * * *",
		Timezone:     "UTC",
		Jitter:       Duration(30 * time.Second),
		Timeout:      Duration(time.Hour),
		Overlap:      "skip",
		DrainTimeout: Duration(25 * time.Second),
		DataDir:      "./data",
		Defaults:     Collect{Regions: []string{"*"}, Kinds: []string{"ec2_instance"}, Sensitive: "digest"},
		Store:        Store{Type: "sqlite", Keep: Duration(400 * 24 * time.Hour), Sync: "normal"},
		Engine:       Engine{Type: "local"},
		Limits: Limits{
			CallsInFlight: 256,
			Pages:         4,
			GZIP:          &yes,
			Attempts:      5,
			MaxBackoff:    Duration(20 * time.Second),
			CallTimeout:   Duration(time.Minute),
		},
		Web: Web{Listen: "127.0.0.1:9420"},
	}
}

// The defaults of keys that mean something only beside others.
const (
	defaultSessionName = "collector"
	defaultRole        = Duration(time.Hour) // the SDK's own is 15 minutes: exactly the period of the schedule
	defaultMFASession  = Duration(36 * time.Hour)
)

// inherit fills in what the block leaves to the file.
func (a *Account) inherit(f *File) {
	if a.Schedule == "" {
		a.Schedule = f.Schedule
	}
	if a.Timezone == "" {
		a.Timezone = f.Timezone
	}
	if a.Timeout == 0 {
		a.Timeout = f.Timeout
	}
	if a.Overlap == "" {
		a.Overlap = f.Overlap
	}
	a.Collect = a.Collect.over(f.Defaults)
	a.complete(a.Collect.Regions)
}

// complete fills in what a sign-in leaves open.
func (a *SignIn) complete(regions []string) {
	a.expand(regions)
	if a.ARN != "" {
		a.RoleSession.complete()
	}
	for i := range a.Roles {
		a.Roles[i].complete()
	}
	if a.SerialNumber != "" && a.MFASessionDuration == 0 {
		a.MFASessionDuration = defaultMFASession
	}
}

// over is c, with what it does not say taken from below.
func (c Collect) over(below Collect) Collect {
	if c.Regions == nil {
		c.Regions = below.Regions
	}
	if c.Kinds == nil {
		c.Kinds = below.Kinds
	}
	if c.Schedules == nil {
		c.Schedules = below.Schedules
	}
	if c.ExpectDenied == nil {
		c.ExpectDenied = below.ExpectDenied
	}
	if c.Sensitive == "" {
		c.Sensitive = below.Sensitive
	}
	return c
}

func (r *RoleSession) complete() {
	if r.SessionName == "" {
		r.SessionName = defaultSessionName
	}
	if r.Duration == 0 {
		r.Duration = defaultRole
	}
}

// nameAccounts gives a name to every block that has none: its account_name, else account-1 for the first block and so on.
func nameAccounts(accounts []*Account) {
	var taken []string
	for _, a := range accounts {
		if a.Name == "" {
			a.Name = a.ExtraTags["account_name"]
		}
		taken = append(taken, a.Name)
	}
	slices.Sort(taken)
	for i, a := range accounts {
		if a.Name != "" {
			continue
		}
		a.Name = "account-" + strconv.Itoa(i+1)
		for n := 2; ; n++ { // somebody may have called another block account-2
			if _, clash := slices.BinarySearch(taken, a.Name); !clash {
				break
			}
			a.Name = "account-" + strconv.Itoa(i+1) + "-" + strconv.Itoa(n)
		}
	}
}
