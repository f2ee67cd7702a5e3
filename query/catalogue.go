package query

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws-collector/collector/config"
)

// A KindLine is a kind as JSON.
type KindLine struct {
	Kind      string `json:"kind"`
	Service   string `json:"service"`
	Operation string `json:"operation"`
	Parent    string `json:"parent"`
	Action    string `json:"action"`
	Doc       string `json:"doc"`
	Global    bool   `json:"-"` // the same in every region
}

// A Catalogue is the kinds of this program.
type Catalogue []KindLine

func (c Catalogue) isGlobal(kind string) bool {
	for i := range c {
		if c[i].Kind == kind {
			return c[i].Global
		}
	}
	return false
}

// Pattern completes a kind as people write it: instance, ec2_instances, addresses, "vpc*". A name that several services
// have means EC2's kind. The result matches some kind.
func (c Catalogue) Pattern(s string) (string, error) {
	name, isExcluded := strings.CutPrefix(s, "!")
	prefixes := []string{"", "ec2_"}
	for i := range c {
		if prefix := c[i].Service + "_"; !slices.Contains(prefixes, prefix) {
			prefixes = append(prefixes, prefix)
		}
	}
	var patterns []string
	for _, prefix := range prefixes {
		patterns = append(patterns, prefix+name)
	}
	for _, prefix := range prefixes { // a plural, if nothing has this name
		patterns = append(patterns, prefix+strings.TrimSuffix(name, "s"), prefix+strings.TrimSuffix(name, "es"))
	}
	for _, p := range patterns {
		for i := range c {
			if config.Matches([]string{p}, c[i].Kind) {
				if isExcluded {
					p = "!" + p
				}
				return p, nil
			}
		}
	}
	return "", c.unknown(name)
}

// unknown is the error for an unknown kind. It suggests a kind with a similar name, else the shortest that contains it.
func (c Catalogue) unknown(s string) error {
	names := make([]string, 0, 2*len(c))
	containing := ""
	for i := range c {
		short := strings.TrimPrefix(c[i].Kind, c[i].Service+"_")
		names = append(names, c[i].Kind, short)
		if strings.Contains(c[i].Kind, strings.TrimPrefix(s, c[i].Service+"_")) &&
			(containing == "" || len(c[i].Kind) < len(containing)) {
			containing = c[i].Kind
		}
	}
	suggestion := containing
	if near := Nearest(s, names); near != "" {
		suggestion, _ = c.Pattern(near) // it is a kind
	}
	if suggestion != "" {
		return fmt.Errorf(`unknown kind %q; did you mean %s? Run "collector kinds" to list all kinds`, s, suggestion)
	}
	return fmt.Errorf(`unknown kind %q; run "collector kinds" to list all kinds`, s)
}

// setKinds completes the names of kinds. Without a catalogue it takes them as they are.
func setKinds(q *Question, values []string, o Options) error {
	var errs []error
	for _, s := range values {
		if len(o.Kinds) > 0 {
			p, err := o.Kinds.Pattern(s)
			if err != nil {
				errs = append(errs, err)
			}
			s = p
		}
		q.Kinds = append(q.Kinds, s)
	}
	return errors.Join(errs...)
}
