package config

import (
	"maps"
	"regexp"
	"slices"
)

// A Query is a saved question: values of flags of "collector list", as one would type them.
type Query struct {
	Kind    string `yaml:"kind" doc:"Kinds by name or glob, separated by commas; the prefix ec2_ may be left out."`
	Account string `yaml:"account" doc:"Accounts by name, id or glob, separated by commas."`
	Region  string `yaml:"region" doc:"Regions by name or glob, separated by commas."`
	Where   string `yaml:"where" doc:"A condition. \"collector list --help\" has the language."`
	Search  string `yaml:"search" doc:"A part of an id, name, address, tag or account."`
	At      string `yaml:"at" doc:"The instant: a date, a time, or an age such as 3d."`
	Columns string `yaml:"columns" doc:"The fields to show, separated by commas."`
	Sort    string `yaml:"sort" doc:"The fields to sort by, separated by commas; -FIELD is the largest first."`
	Limit   string `yaml:"limit" doc:"The largest number of resources to show."`
}

// flags returns the values by the names of their flags, which are those of their keys.
func (q *Query) flags() map[string]*string {
	return map[string]*string{
		"kind": &q.Kind, "account": &q.Account, "region": &q.Region, "where": &q.Where, "search": &q.Search, "at": &q.At,
		"columns": &q.Columns, "sort": &q.Sort, "limit": &q.Limit,
	}
}

// Flags returns the values that are set, by the names of their flags.
func (q *Query) Flags() map[string]string {
	set := map[string]string{}
	for name, value := range q.flags() {
		if *value != "" {
			set[name] = *value
		}
	}
	return set
}

// queryName is the form of names that no shell needs to have quoted.
var queryName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// checkQueries checks the saved queries, each of which must be a valid question.
func (d *decoder) checkQueries(w *document) {
	for _, name := range slices.Sorted(maps.Keys(w.Queries)) {
		q := w.Queries[name]
		p, ok := d.Checkable(q)
		if !ok {
			continue
		}
		if !queryName.MatchString(name) {
			d.Report(p, "the name has characters other than letters, digits and . _ -", "rename the query")
		}
		if d.registry.CheckQuery == nil {
			continue
		}
		valid := map[string]string{}
		for flag, value := range q.flags() {
			if _, ok := d.Checkable(value); ok {
				valid[flag] = *value
			}
		}
		for flag, err := range d.registry.CheckQuery(valid) {
			at := d.At(q.flags()[flag])
			text := err.Error()
			if at.References != "" { // the text may repeat the value
				text = d.Show(at, "") + " is not valid"
			}
			d.Report(at, text, "")
		}
	}
}
