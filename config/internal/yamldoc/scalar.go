package yamldoc

import (
	"encoding"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/aws-collector/collector/secret"
)

var (
	placeholder = regexp.MustCompile(`<[A-Za-z][^<>]*>`)
	decimal     = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
)

// fillScalar fills v from a scalar. It returns the Position with the value's state.
func (d *Decoder) fillScalar(n *yaml.Node, v reflect.Value, f Field, at Position) (Position, bool) {
	t := v.Type()
	fail := func(text, remedy string) (Position, bool) {
		d.Report(at, text, remedy)
		at.State = Invalid
		return at, false
	}
	hide := t == reflect.TypeFor[secret.String]()
	switch tag := n.ShortTag(); {
	case n.Kind != yaml.ScalarNode:
		return fail("want "+typeName(t)+", got "+kindName(n), "")
	case len(n.Value) > MaxScalar:
		return fail("the value is longer than 64 KiB", "")
	case n.Style&yaml.TaggedStyle != 0 && !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool"}, tag):
		return fail("the YAML tag before the value has no meaning here",
			`quote a value that begins with !, as in "!ec2_image"; write a secret as ${env:NAME} or ${file:/path}`)
	case tag == "!!null":
		return fail("has no value", "give it one or remove the key")
	}
	segments, err := parseReferences(n.Value)
	if err != nil {
		d.ReportError(at, "", err)
		at.State = Invalid
		return at, false
	}
	if hide {
		d.inlineSecret = d.inlineSecret || !hasReference(segments)
		for _, p := range segments {
			if p.scheme == "file" {
				d.secretFiles = append(d.secretFiles, p.text)
			}
		}
	}
	text, ok := d.resolveText(segments, n.Value, &at)
	if d.concealed != nil && at.State == Valid && (hide || at.References != "") {
		d.concealed.add(at, text, hide)
	}
	if !ok || at.State != Valid {
		setText(v, text)
		return at, ok
	}
	switch {
	case placeholder.MatchString(text):
		what := "is still a placeholder"
		if !hide {
			what = d.Show(at, placeholder.FindString(text)) + " " + what
		}
		return fail(what, "")
	case text == "" && !isMapEntry(f):
		return fail("is empty", "give it a value or remove the key")
	case hide && strings.TrimSpace(text) != text:
		return fail("begins or ends with white space", "")
	}
	if err := d.convert(n, v, text, at); err != nil {
		d.ReportError(at, "", err)
		at.State = Invalid
		return at, false
	}
	return at, d.checkLimits(v, f, text, &at)
}

// isMapEntry reports whether the field is a map entry, which may be "".
func isMapEntry(f Field) bool { return f.Type != nil && f.Type.Kind() == reflect.Map }

// resolveText returns the scalar's text. In the first pass the text of a scalar with references is as written.
func (d *Decoder) resolveText(segments []segment, raw string, at *Position) (string, bool) {
	if !hasReference(segments) {
		return segments[0].text, true // a scalar without references has one segment
	}
	if d.fetch == nil || d.fetch.include != nil && !d.fetch.include(at.Path) {
		at.State = Unresolved
		d.unresolvedCount++
		return raw, true
	}
	var b, from strings.Builder
	ok := true
	named := map[segment]bool{}
	for _, p := range segments {
		s, err := d.fetch.fetch(p)
		if b.Len()+len(s) > MaxScalar {
			s, err = "", Problem{Text: "the value is longer than 64 KiB with its references resolved"}
		}
		if err != nil {
			if ok || !named[p] {
				d.ReportError(*at, "", err)
			}
			ok = false
		}
		b.WriteString(s)
		if p.scheme != "" && !named[p] {
			named[p] = true
			if d.concealed != nil && err == nil {
				d.concealed.hide(s)
			}
			if from.Len() > 0 {
				from.WriteString(" and ")
			}
			from.WriteString(p.String())
		}
	}
	at.References = from.String()
	if !ok {
		at.State = Invalid
	}
	return b.String(), ok
}

// setText stores text that cannot be checked yet, if the field can hold text.
func setText(v reflect.Value, text string) {
	switch p := v.Addr().Interface().(type) {
	case *secret.String:
		*p = secret.New(text)
	case *string:
		*p = text
	}
}

// convert stores the text in v. Its error does not repeat the text, except an error of another package's type;
// hidden values are removed from that.
func (d *Decoder) convert(n *yaml.Node, v reflect.Value, text string, at Position) error {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		v.Set(reflect.New(t.Elem()))
		return d.convert(n, v.Elem(), text, at)
	}
	got := kindName(n)
	if got == "a number" && (v.CanInt() || v.CanUint()) {
		got = strings.Trim(QuoteSafe(n.Value), `"`) // a number with a fraction, or in another base
	}
	wrong := Problem{Text: "want " + typeName(t) + ", got " + got}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		wrong.Remedy = "write it without quotes"
	}
	if at.References != "" {
		wrong = Problem{Text: d.Show(at, text) + " is not " + typeName(t)}
	}
	typed := func(tags ...string) bool { return at.References != "" || slices.Contains(tags, n.ShortTag()) }
	switch p := v.Addr().Interface().(type) {
	case *secret.String:
		*p = secret.New(text)
		return nil
	case *time.Duration:
		dur, err := ParseDuration(text)
		*p = dur
		return d.describeError(err, text, at)
	case encoding.TextUnmarshaler:
		return d.describeError(p.UnmarshalText([]byte(text)), text, at)
	}
	switch t.Kind() {
	case reflect.String:
		v.SetString(text)
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil || !typed("!!bool") {
			return wrong
		}
		v.SetBool(b)
		return nil
	case reflect.Float32, reflect.Float64:
		x, err := strconv.ParseFloat(text, t.Bits())
		if err != nil || !typed("!!int", "!!float") {
			return wrong
		}
		v.SetFloat(x)
		return nil
	}
	if !typed("!!int") || !decimal.MatchString(text) {
		return wrong
	}
	if v.CanInt() {
		x, err := strconv.ParseInt(text, 10, t.Bits())
		v.SetInt(x)
		return rangeError(err)
	}
	x, err := strconv.ParseUint(text, 10, t.Bits())
	v.SetUint(x)
	return rangeError(err)
}

func rangeError(err error) error {
	if err == nil {
		return nil
	}
	return Problem{Text: "the number is too large"}
}

// describeError adds the value to an error that does not show it.
func (d *Decoder) describeError(err error, text string, at Position) error {
	if err == nil {
		return nil
	}
	var p Problem
	if errors.As(err, &p) {
		p.Text = d.Show(at, text) + ": " + p.Text
		return p
	}
	if at.References != "" && d.concealed.mayRepeat(at.Path, err.Error()) {
		return Problem{Text: d.Show(at, text) + " is not valid", Remedy: reasonHidden}
	}
	return Problem{Text: d.concealed.redact(err.Error())}
}

// typeName returns a type in the user's words.
func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration](), t == reflect.TypeFor[time.Duration]():
		return "a duration"
	case t.Kind() == reflect.Pointer:
		return typeName(t.Elem())
	case t.Kind() == reflect.Bool:
		return "true or false"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()), t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Float32, t.Kind() == reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// checkLimits checks the value against the field's enum and range.
func (d *Decoder) checkLimits(v reflect.Value, f Field, text string, at *Position) bool {
	if len(f.Enum) > 0 && !slices.Contains(f.Enum, text) {
		remedy := "write " + JoinOr(f.Enum)
		if n := Nearest(text, f.Enum); n != "" && at.References == "" {
			remedy = "did you mean " + strconv.Quote(n) + "?"
		}
		d.Report(*at, d.Show(*at, text)+" is not allowed here", remedy)
		at.State = Invalid
		return false
	}
	low, high, ok := strings.Cut(f.Limits, "..")
	if !ok {
		return true
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if lo, set := bound(v.Type(), low); set && less(v, lo) {
		ok = false
	}
	if hi, set := bound(v.Type(), high); set && less(hi, v) {
		ok = false
	}
	if !ok {
		remedy := "write a value from " + low + " to " + high
		if high == "" {
			remedy = "write at least " + low
		}
		d.Report(*at, d.Show(*at, text)+" is out of range", remedy)
		at.State = Invalid
	}
	return ok
}

// JoinOr returns "a, b or c".
func JoinOr(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// bound parses one end of a range as a value of the field's type, so that tags can use 15m and 64KiB.
func bound(t reflect.Type, s string) (reflect.Value, bool) {
	v := reflect.New(t)
	if s == "" {
		return v.Elem(), false
	}
	var err error
	switch p := v.Interface().(type) {
	case *time.Duration:
		*p, err = ParseDuration(s)
	case encoding.TextUnmarshaler:
		err = p.UnmarshalText([]byte(s))
	default:
		var x float64
		x, err = strconv.ParseFloat(s, 64)
		v.Elem().Set(reflect.ValueOf(x).Convert(t))
	}
	return v.Elem(), err == nil
}

func less(a, b reflect.Value) bool {
	switch {
	case a.CanInt():
		return a.Int() < b.Int()
	case a.CanUint():
		return a.Uint() < b.Uint()
	case a.CanFloat():
		return a.Float() < b.Float()
	}
	return false
}
