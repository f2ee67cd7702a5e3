package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// A Directive is something that a person decided about an account.
type Directive struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Note string    `json:"note"`
}

// An Acknowledgement says that a person knows of a failure. It covers the targets that fail for this reason and have
// not been listed completely since: a failure that comes back, or changes its reason, is a new one.
type Acknowledgement struct {
	Account string        `json:"account"`
	Region  string        `json:"region"` // "": all
	Kind    string        `json:"kind"`   // "": all
	Reason  record.Reason `json:"reason"`
	Directive
}

// Covers reports whether a target that was last listed completely at an instant, or never, fails as acknowledged.
func (a *Acknowledgement) Covers(o *record.Outcome, lastSuccess time.Time) bool {
	return a.Account == o.Account && a.Reason == o.Reason && !lastSuccess.After(a.At) &&
		(a.Region == "" || a.Region == o.Region) && (a.Kind == "" || a.Kind == o.Kind)
}

// Directives are what people decided about accounts: which are paused, and which failures are known. They survive a
// restart in a file of data_dir. A nil *Directives has none.
type Directives struct {
	path string // "": not saved

	saving sync.Mutex // so that the last decision is the one on disk

	mu           sync.RWMutex
	paused       map[string]Directive
	acknowledged map[string][]Acknowledgement // by account
}

// savedDirectives is the content of the file.
type savedDirectives struct {
	Version      int                  `json:"version"`
	Paused       map[string]Directive `json:"paused"` // by account
	Acknowledged []Acknowledgement    `json:"acknowledged"`
}

// ReadDirectives reads the file at path, which may be missing; path "" is for a run that stores nothing.
func ReadDirectives(path string) (*Directives, error) {
	d := &Directives{path: path, paused: map[string]Directive{}, acknowledged: map[string][]Acknowledgement{}}
	if path == "" {
		return d, nil
	}
	b, err := statefile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	var s savedDirectives
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && s.Version != 1 {
		err = fmt.Errorf("unknown version %d", s.Version)
	}
	if err != nil {
		return d, fmt.Errorf("read paused accounts and acknowledgements: %w", err)
	}
	maps.Copy(d.paused, s.Paused)
	for _, a := range s.Acknowledged {
		d.acknowledged[a.Account] = append(d.acknowledged[a.Account], a)
	}
	return d, nil
}

// OpenDirectives reads the file at path for the process that changes it. A damaged file is moved aside, with a warning:
// it is better to collect a paused account than none.
func OpenDirectives(path string, log *slog.Logger) (*Directives, error) {
	d, err := ReadDirectives(path)
	if err == nil {
		return d, nil
	}
	aside, moved := statefile.MoveDamaged(path)
	if moved != nil {
		return nil, errors.Join(err, moved)
	}
	log.Warn("file of directives damaged and moved aside", "path", path, "error", err, "moved_to", aside,
		"hint", "Pause the accounts again that were paused, and acknowledge what was acknowledged.")
	return d, nil
}

// Paused returns who paused an account; nil: nobody.
func (d *Directives) Paused(account string) *Directive {
	if d == nil {
		return nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if p, ok := d.paused[account]; ok {
		return &p
	}
	return nil
}

// Acknowledged returns the acknowledgement of a target's failure; nil: there is none.
func (d *Directives) Acknowledged(o *record.Outcome, lastSuccess time.Time) *Acknowledgement {
	if d == nil || !o.Failed() {
		return nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, a := range d.acknowledged[o.Account] {
		if a.Covers(o, lastSuccess) {
			return &a
		}
	}
	return nil
}

// Pause pauses an account: its ticks are missed until Resume. An account that is paused stays as it is.
func (d *Directives) Pause(account string, p Directive) error {
	return d.change(func() bool {
		if _, already := d.paused[account]; already {
			return false
		}
		d.paused[account] = p
		return true
	})
}

// Resume ends the pause of an account.
func (d *Directives) Resume(account string) error {
	return d.change(func() bool {
		_, paused := d.paused[account]
		delete(d.paused, account)
		return paused
	})
}

// Acknowledge adds an acknowledgement. Those of the account that are obsolete, or that the new one replaces, are
// dropped: so their number does not grow.
func (d *Directives) Acknowledge(a Acknowledgement, obsolete func(*Acknowledgement) bool) error {
	return d.change(func() bool {
		rest := slices.DeleteFunc(slices.Clone(d.acknowledged[a.Account]), func(old Acknowledgement) bool {
			same := old.Region == a.Region && old.Kind == a.Kind && old.Reason == a.Reason
			return same || obsolete(&old)
		})
		d.acknowledged[a.Account] = append([]Acknowledgement{a}, rest...) // the latest is found first
		return true
	})
}

// change makes a change and saves it. If it cannot be saved, it is not made: nobody should rely on it.
func (d *Directives) change(apply func() (changed bool)) error {
	d.saving.Lock()
	defer d.saving.Unlock()
	d.mu.Lock()
	paused, acknowledged := maps.Clone(d.paused), maps.Clone(d.acknowledged)
	if !apply() {
		d.mu.Unlock()
		return nil
	}
	s := savedDirectives{Version: 1, Paused: maps.Clone(d.paused), Acknowledged: []Acknowledgement{}}
	for _, account := range slices.Sorted(maps.Keys(d.acknowledged)) {
		s.Acknowledged = append(s.Acknowledged, d.acknowledged[account]...)
	}
	d.mu.Unlock()
	if d.path == "" {
		return nil
	}
	b, err := json.Marshal(s)
	if err == nil {
		err = statefile.Write(d.path, append(b, '\n'))
	}
	if err != nil {
		d.mu.Lock()
		d.paused, d.acknowledged = paused, acknowledged
		d.mu.Unlock()
		return &record.Fault{
			Reason: record.Other, Hint: statefile.Hint(d.path, err),
			Err: fmt.Errorf("save paused accounts and acknowledgements: %w", err),
		}
	}
	return nil
}
