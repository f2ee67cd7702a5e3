package config

import (
	"time"
)

// Defaults returns the configuration of a file that contains only accounts. If the Registry has stdout, Parse adds it
// as the output.
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
		Defaults: Collect{
			Regions: []string{"*"}, Kinds: []string{"ec2_instance"}, MaxGone: MaxGone{Percent: 100, AtLeast: 20},
			Sensitive: "digest",
		},
		Store: Store{
			Type: "sqlite", Keep: Duration(400 * 24 * time.Hour), KeepRuns: Duration(30 * 24 * time.Hour), Sync: "normal",
		},
		Engine: Engine{Type: "local"},
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

// The defaults of keys that have a meaning only together with others.
const (
	defaultSessionName = "collector"
	defaultRole        = Duration(time.Hour) // the SDK's default is 15 minutes, exactly the period of the default schedule
	defaultMFASession  = Duration(36 * time.Hour)
)

// inherit fills in the keys that the block leaves to the file.
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
	a.Collect = a.Collect.withDefaults(f.Defaults)
	a.applyDefaults(a.Collect.Regions)
}

// applyDefaults fills in the keys that a sign-in leaves out.
func (a *SignIn) applyDefaults(regions []string) {
	a.expandShorthand(regions)
	if a.ARN != "" {
		a.RoleSession.applyDefaults()
	}
	for i := range a.Roles {
		a.Roles[i].applyDefaults()
	}
	if a.SerialNumber != "" && a.MFASessionDuration == 0 {
		a.MFASessionDuration = defaultMFASession
	}
}

// withDefaults returns c, with unset fields taken from below.
func (c Collect) withDefaults(below Collect) Collect {
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
	if c.MaxGone.Percent == 0 {
		c.MaxGone.Percent = below.MaxGone.Percent
	}
	if c.MaxGone.AtLeast == 0 {
		c.MaxGone.AtLeast = below.MaxGone.AtLeast
	}
	if c.Sensitive == "" {
		c.Sensitive = below.Sensitive
	}
	return c
}

func (r *RoleSession) applyDefaults() {
	if r.SessionName == "" {
		r.SessionName = defaultSessionName
	}
	if r.Duration == 0 {
		r.Duration = defaultRole
	}
}
