package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// foreignKeys maps the names that other tools use to our keys.
var foreignKeys = map[string]string{
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

var separatorRemover = strings.NewReplacer("_", "", "-", "", " ", "")

// foldKey removes differences that people often confuse: case, and how words are joined.
func foldKey(key string) string { return strings.ToLower(separatorRemover.Replace(key)) }

// A vocabulary is a list of words for repeated searches, with cached results.
type vocabulary struct {
	words, folded []string
	near          map[string]string // results of earlier searches
}

func newVocabulary(words []string) *vocabulary {
	v := &vocabulary{words: words, folded: make([]string, len(words)), near: map[string]string{}}
	for i, w := range words {
		v.folded[i] = foldKey(w)
	}
	return v
}

// nearest returns the word of which s is most likely a misspelling, or "".
func (v *vocabulary) nearest(s string) string {
	if len(s) > maxWordLength {
		return ""
	}
	best, known := v.near[s]
	if !known {
		best = v.find(s)
		v.near[s] = best
	}
	return best
}

func (v *vocabulary) find(s string) string {
	best, at := "", maxTypos(s)+1
	f := foldKey(s)
	for i, w := range v.words {
		if v.folded[i] == f {
			return w
		}
		if d := distance(s, w, at-1); d < at {
			best, at = w, d
		}
	}
	return best
}

// nearest searches a few words.
func nearest(s string, words []string) string { return newVocabulary(words).nearest(s) }

// maxTypos is the maximum number of wrong letters in a misspelling of a word of this length.
func maxTypos(s string) int {
	switch n := len(s); {
	case n < 4:
		return 1
	case n < 8:
		return 2
	default:
		return 3
	}
}

// maxWordLength is above the length of all our words. Longer text is not a misspelling of one.
const maxWordLength = 64

// distance counts the letters that must be inserted, deleted, changed or swapped with the next one to turn a into b. If
// there are more than most, it returns most+1.
func distance(a, b string, most int) int {
	if n := len(a) - len(b); n > most || n < -most || len(a) > maxWordLength || len(b) > maxWordLength {
		return most + 1
	}
	var rows [3][maxWordLength + 1]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least > most+1 { // a swap can reduce the distance by one
			return most + 1
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], most+1)
}

// A wordCache holds the words for suggestions and the results of earlier searches.
type wordCache struct {
	keys       map[*field]*vocabulary // keys of a mapping, by its first key
	nestedKeys map[*field]map[string]string
	kinds      *vocabulary
	regions    *vocabulary
	matched    map[string]bool // patterns of kinds: whether they match one
}

func newWordCache() wordCache {
	return wordCache{
		keys:       map[*field]*vocabulary{},
		nestedKeys: map[*field]map[string]string{},
		matched:    map[string]bool{},
	}
}

// isKind reports whether a pattern matches a kind.
func (d *decoder) isKind(pattern string) bool {
	is, known := d.words.matched[pattern]
	if !known {
		is = slices.ContainsFunc(d.registry.Kinds, func(kind string) bool { return glob(pattern, kind) })
		d.words.matched[pattern] = is
	}
	return is
}

func (d *decoder) nearestKind(name string) string {
	if d.words.kinds == nil {
		d.words.kinds = newVocabulary(d.registry.Kinds)
	}
	return d.words.kinds.nearest(name)
}

func (d *decoder) nearestRegion(name string) string {
	if d.words.regions == nil {
		d.words.regions = newVocabulary(knownRegions())
	}
	return d.words.regions.nearest(name)
}

// A keyScope is a mapping of the file, with the mappings around it. Suggestions for an unknown key come from them.
type keyScope struct {
	keys   []field
	path   string
	parent *keyScope
}

// keyNames returns the keys of a mapping.
func (d *decoder) keyNames(b *keyScope) *vocabulary {
	if len(b.keys) == 0 {
		return newVocabulary(nil)
	}
	v := d.words.keys[&b.keys[0]]
	if v == nil {
		names := make([]string, len(b.keys))
		for i, f := range b.keys {
			names[i] = f.key
		}
		v = newVocabulary(names)
		d.words.keys[&b.keys[0]] = v
	}
	return v
}

// location describes the mapping in a remedy.
func (b *keyScope) location() string {
	if b.path == "" {
		return "at the top of the file"
	}
	return "in " + b.path
}

// unknownKeyRemedy says where an unknown key belongs, or returns "".
func (d *decoder) unknownKeyRemedy(key string, b *keyScope) string {
	suggest := func(k string) string { return "did you mean " + strconv.Quote(k) + "?" }
	all := d.keyNames(b)
	names := all.words
	if i := slices.Index(all.folded, foldKey(key)); i >= 0 {
		return suggest(names[i])
	}
	for parent := b.parent; parent != nil; parent = parent.parent {
		if slices.Contains(d.keyNames(parent).words, key) {
			return "move it: it belongs " + parent.location()
		}
	}
	near := all.nearest(key)
	if near != "" && len(key) > 3 && distance(near, key, 1) == 1 {
		return suggest(near)
	}
	lookup := key
	if ours, ok := foreignKeys[strings.ToLower(key)]; ok {
		lookup = ours
	}
	if slices.Contains(names, lookup) {
		return suggest(lookup)
	}
	if at := d.nestedPath(b.keys, lookup); at != "" {
		return suggest(at)
	}
	for parent := b.parent; parent != nil; parent = parent.parent {
		at := lookup
		if !slices.Contains(d.keyNames(parent).words, lookup) {
			at = d.nestedPath(parent.keys, lookup)
		}
		if at != "" {
			return "did you mean " + strconv.Quote(at) + " " + parent.location() + "?"
		}
	}
	if near != "" {
		return suggest(near)
	}
	return ""
}

// nestedPath returns the path of a key in the mappings below a mapping, or "". Each mapping is searched once.
func (d *decoder) nestedPath(keys []field, key string) string {
	if len(keys) == 0 {
		return ""
	}
	all, known := d.words.nestedKeys[&keys[0]]
	if !known {
		all = map[string]string{}
		d.addNestedKeys(keys, "", all)
		d.words.nestedKeys[&keys[0]] = all
	}
	return all[key]
}

// addNestedKeys adds the keys of mappings below, without those in lists. A key nearer to the top wins.
func (d *decoder) addNestedKeys(keys []field, path string, all map[string]string) {
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
			if _, taken := all[s.key]; !taken {
				all[s.key] = joinPath(path, f.key) + "." + s.key
			}
		}
		d.addNestedKeys(sub, joinPath(path, f.key), all)
	}
}
