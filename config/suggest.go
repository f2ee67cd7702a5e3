package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// elsewhere is what other tools call our keys, as people write them from habit.
var elsewhere = map[string]string{
	"access_key":            "ak_id",
	"access_key_id":         "ak_id",
	"aws_access_key_id":     "ak_id",
	"secret_key":            "ak_secret",
	"secret_access_key":     "ak_secret",
	"aws_secret_access_key": "ak_secret",
	"aws_session_token":     "session_token",
	"profile_name":          "profile",
	"aws_profile":           "profile",
	"role_arn":              "assume_role_arn",
	"session_name":          "role_session_name",
	"duration_seconds":      "role_duration",
	"mfa_serial":            "serial_number",
	"mfa_code":              "token_code",
	"mfa_secret":            "totp_seed",
	"totp_secret":           "totp_seed",
	"mfa_process":           "token_command",
	"role_name":             "role",
	"policy":                "session_policy",
	"region":                "regions",
	"crontab":               "schedule",
	"fixed_crontab":         "schedule",
	"cron":                  "schedule",
	"tags":                  "extra_tags",
	"concurrency":           "calls_in_flight",
	"max_attempts":          "attempts",
}

// folded is a key without what people mix up: case, and how words are joined.
func folded(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(key))
}

// nearest is the word that s is most likely a slip for, or "".
func nearest(s string, words []string) string {
	best, at := "", 0
	for _, w := range words {
		if folded(w) == folded(s) {
			return w
		}
		if d := distance(s, w); d <= slip(s) && (best == "" || d < at) {
			best, at = w, d
		}
	}
	return best
}

// slip is how many letters may be wrong in a word of this length for it to be a slip.
func slip(s string) int {
	switch n := len(s); {
	case n < 4:
		return 1
	case n < 8:
		return 2
	default:
		return 3
	}
}

// distance counts the letters that must be put in, left out, changed or swapped with the next to make b of a.
func distance(a, b string) int {
	if n := len(a) - len(b); n > 3 || n < -3 {
		return 4 // farther than any slip
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// A block is a mapping of the file with those around it: where an unknown key is looked for.
type block struct {
	keys []field
	path string
	up   *block
}

func (b *block) names() []string {
	names := make([]string, len(b.keys))
	for i, f := range b.keys {
		names[i] = f.key
	}
	return names
}

// where is the block in a remedy.
func (b *block) where() string {
	if b.path == "" {
		return "at the top of the file"
	}
	return "in " + b.path
}

// unknownKey says where a key belongs that does not belong here, or "".
func (d *decoder) unknownKey(key string, b *block) string {
	mean := func(k string) string { return "did you mean " + strconv.Quote(k) + "?" }
	names := b.names()
	for _, n := range names {
		if folded(n) == folded(key) {
			return mean(n)
		}
	}
	for up := b.up; up != nil; up = up.up {
		if slices.Contains(up.names(), key) {
			return "it belongs " + up.where()
		}
	}
	for _, n := range names {
		if distance(n, key) == 1 && len(key) > 3 {
			return mean(n)
		}
	}
	lookup := key
	if ours, ok := elsewhere[strings.ToLower(key)]; ok {
		lookup = ours
	}
	if slices.Contains(names, lookup) {
		return mean(lookup)
	}
	if at, ok := d.below(b.keys, lookup); ok {
		return mean(at)
	}
	for up := b.up; up != nil; up = up.up {
		at, ok := lookup, slices.Contains(up.names(), lookup)
		if !ok {
			at, ok = d.below(up.keys, lookup)
		}
		if ok {
			return "did you mean " + strconv.Quote(at) + " " + up.where() + "?"
		}
	}
	if n := nearest(key, names); n != "" {
		return mean(n)
	}
	return ""
}

// below finds a key in the mappings that are reached without passing a list.
func (d *decoder) below(keys []field, key string) (string, bool) {
	for _, f := range keys {
		t := f.typ
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || isScalar(t) {
			continue
		}
		sub := d.fieldsOf(t)
		for _, s := range sub {
			if s.key == key {
				return f.key + "." + key, true
			}
		}
		if at, ok := d.below(sub, key); ok {
			return f.key + "." + at, true
		}
	}
	return "", false
}
