package page

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/aws-collector/collector/inventory"
)

// A facet is the values of a field among the resources that were found, each a link that asks for it.
type facet struct {
	Name   string
	Values []facetValue
}

type facetValue struct {
	Text, URL string
	N         int
	Width     float64 // of 100
	Current   bool
}

const (
	maxFacetValues = 12
	maxTagFacets   = 3
	maxTagKeys     = 200  // that are counted
	maxTagValues   = 1000 // of a key that are counted
)

// facetCounts count the values of resources. What they hold is bounded, whatever tags there are.
type facetCounts struct {
	n      int
	most   int  // are counted
	more   bool // there are more resources than are counted
	fields map[string]map[string]int
	tags   map[string]map[string]int // values by key
}

func newFacetCounts(most int) *facetCounts {
	c := &facetCounts{most: most, fields: map[string]map[string]int{}, tags: map[string]map[string]int{}}
	for _, name := range facetFields {
		c.fields[name] = map[string]int{}
	}
	return c
}

// facetFields are fields with a facet of their own.
var facetFields = [...]string{"kind", "account", "region", "state"}

// add counts a resource, unless there are too many.
func (c *facetCounts) add(res *inventory.Resource) bool {
	if c.n == c.most {
		c.more = true
		return false
	}
	c.n++
	for i, v := range [...]string{res.Kind, res.Account, res.Region, res.State} {
		if v != "" {
			c.fields[facetFields[i]][v]++
		}
	}
	for key, value := range res.Tags {
		values := c.tags[key]
		if values == nil {
			if len(c.tags) == maxTagKeys {
				continue
			}
			values = map[string]int{}
			c.tags[key] = values
		}
		if _, known := values[value]; known || len(values) < maxTagValues {
			values[value]++
		}
	}
	return true
}

// tagKeys are the keys of tags that group resources, the most frequent first. A key whose values are nearly all
// different, such as Name, or all empty, does not.
func (c *facetCounts) tagKeys() []string {
	used := map[string]int{}
	for key, values := range c.tags {
		for _, n := range values {
			used[key] += n
		}
		if key == "Name" || len(values) == 1 && values[""] > 0 || len(values) > 2 && len(values) > used[key]/2 {
			delete(used, key)
		}
	}
	return slices.SortedFunc(maps.Keys(used), func(a, b string) int {
		return cmp.Or(cmp.Compare(used[b], used[a]), cmp.Compare(a, b))
	})
}

// facets returns the facets: the fields of the question, the state, and the tags by which resources are grouped most.
func (c *facetCounts) facets(r *request) []facet {
	var all []facet
	for _, name := range facetFields {
		f := newFacet(name, c.fields[name])
		for i := range f.Values {
			v := &f.Values[i]
			if name == "state" {
				v.setTerm("state", r)
				continue
			}
			chosen := r.params(name)
			v.Current = len(chosen) == 1 && len(c.fields[name]) == 1
			v.URL = r.with(name, listValue(v.Text), "after", "")
			if name == "kind" {
				v.Text = kindName(v.Text)
			}
		}
		all = append(all, f)
	}
	keys := c.tagKeys()
	for _, key := range keys[:min(len(keys), maxTagFacets)] {
		f := newFacet("tag "+key, c.tags[key])
		for i := range f.Values {
			f.Values[i].setTerm("tags."+key, r)
		}
		all = append(all, f)
	}
	return slices.DeleteFunc(all, func(f facet) bool { return len(f.Values) == 0 && f.Name == "state" })
}

func newFacet(name string, counts map[string]int) facet {
	f := facet{Name: name}
	values := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for _, v := range values[:min(len(values), maxFacetValues)] {
		f.Values = append(f.Values, facetValue{
			Text: v, N: counts[v], Width: 100 * float64(counts[v]) / float64(counts[values[0]]),
		})
	}
	return f
}

// setTerm makes the value a part of the condition: a click adds it, or removes it if the condition has it.
func (v *facetValue) setTerm(field string, r *request) {
	term := inventory.QuoteWord(field) + "=" + inventory.QuoteWord(v.Text)
	terms := inventory.WhereTerms(r.param("where"))
	if i := slices.Index(terms, term); i >= 0 {
		v.Current, terms = true, slices.Delete(terms, i, i+1)
	} else {
		terms = append(terms, term)
	}
	v.URL = r.with("where", strings.Join(terms, " and "), "after", "")
	v.Text = cmp.Or(v.Text, "(empty)")
}
