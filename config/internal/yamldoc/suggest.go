package yamldoc

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

var separatorRemover = strings.NewReplacer("_", "", "-", "", " ", "")

// foldKey removes differences that people often confuse: case, and how words are joined.
func foldKey(key string) string { return strings.ToLower(separatorRemover.Replace(key)) }

// A Vocabulary is a list of words for repeated searches, with cached results.
type Vocabulary struct {
	words, folded []string
	near          map[string]string // results of earlier searches
}

// NewVocabulary returns a vocabulary of these words.
func NewVocabulary(words []string) *Vocabulary {
	v := &Vocabulary{words: words, folded: make([]string, len(words)), near: map[string]string{}}
	for i, w := range words {
		v.folded[i] = foldKey(w)
	}
	return v
}

// Nearest returns the word of which s is most likely a misspelling, or "".
func (v *Vocabulary) Nearest(s string) string {
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

func (v *Vocabulary) find(s string) string {
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

// Nearest searches a few words.
func Nearest(s string, words []string) string { return NewVocabulary(words).Nearest(s) }

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

// A keyScope is a mapping of the file, with the mappings around it. Suggestions for an unknown key come from them.
type keyScope struct {
	keys   []Field
	path   string
	parent *keyScope
}

// keyNames returns the keys of a mapping.
func (d *Decoder) keyNames(b *keyScope) *Vocabulary {
	if len(b.keys) == 0 {
		return NewVocabulary(nil)
	}
	v := d.keyWords[&b.keys[0]]
	if v == nil {
		names := make([]string, len(b.keys))
		for i, f := range b.keys {
			names[i] = f.Key
		}
		v = NewVocabulary(names)
		d.keyWords[&b.keys[0]] = v
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
func (d *Decoder) unknownKeyRemedy(key string, b *keyScope) string {
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
	near := all.Nearest(key)
	if near != "" && len(key) > 3 && distance(near, key, 1) == 1 {
		return suggest(near)
	}
	lookup := key
	if ours, ok := d.rules.ForeignKeys[strings.ToLower(key)]; ok {
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
func (d *Decoder) nestedPath(keys []Field, key string) string {
	if len(keys) == 0 {
		return ""
	}
	all, known := d.nestedKeys[&keys[0]]
	if !known {
		all = map[string]string{}
		d.addNestedKeys(keys, "", all)
		d.nestedKeys[&keys[0]] = all
	}
	return all[key]
}

// addNestedKeys adds the keys of mappings below, without those in lists. A key nearer to the top wins.
func (d *Decoder) addNestedKeys(keys []Field, path string, all map[string]string) {
	for _, f := range keys {
		t := f.Type
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || IsScalar(t) {
			continue
		}
		sub := d.fieldsOf(t)
		for _, s := range sub {
			if _, taken := all[s.Key]; !taken {
				all[s.Key] = joinPath(path, f.Key) + "." + s.Key
			}
		}
		d.addNestedKeys(sub, joinPath(path, f.Key), all)
	}
}
