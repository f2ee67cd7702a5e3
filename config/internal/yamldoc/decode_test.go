package yamldoc

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/secret"
)

// A garden is a file of another program: this package knows no key.
type garden struct {
	Beds    []bed             `yaml:"beds"`
	Water   Duration          `yaml:"water" range:"1m..1h"`
	Labels  map[string]string `yaml:"labels"`
	Key     secret.String     `yaml:"key"`
	Machine Typed             `yaml:"machine"`
}

type bed struct {
	Plant string `yaml:"plant" enum:"leek,kale"`
	Rows  int    `yaml:"rows"`
}

type mower struct {
	Blades int `yaml:"blades"`
}

func (m *mower) Validate() error {
	if m.Blades == 0 {
		return Problem{Path: "blades", Text: "has no blades"}
	}
	return nil
}

func decode(t *testing.T, text string, f *Fetcher) (garden, *Decoder) {
	t.Helper()
	doc, problems := Parse([]byte(text), "g.yaml", "write something")
	if problems != nil {
		t.Fatal(problems)
	}
	d := NewDecoder(doc, f, Rules{
		Types:       map[string]func() any{"mower": func() any { return new(mower) }},
		TypeNoun:    "engine",
		ForeignKeys: map[string]string{"irrigation": "water"},
	})
	var g garden
	d.Decode(&g)
	return g, d
}

const gardenText = `beds:
- plant: kale
  rows: 3
water: ${env:WATER}
labels: {shade: "yes"}
key: ${file:/key}
machine: {type: mower, blades: 2}
`

// Values, their positions and their references, in both passes.
func TestDecode(t *testing.T) {
	g, d := decode(t, gardenText, nil)
	if d.Problems() != nil || g.Beds[0] != (bed{"kale", 3}) || g.Labels["shade"] != "yes" || g.Water != 0 {
		t.Errorf("first pass: %+v, %v", g, d.Problems())
	}
	env := func(string) (string, bool) { return "5m", true }
	read := func(string) ([]byte, error) { return []byte("s3cret\n"), nil }
	doc, _ := Parse([]byte(gardenText), "g.yaml", "")
	d = NewDecoder(doc, NewFetcher(env, read, nil), Rules{
		Types: map[string]func() any{"mower": func() any { return new(mower) }},
	})
	g = garden{}
	d.Decode(&g)
	if d.Problems() != nil || time.Duration(g.Water) != 5*time.Minute || g.Key.Reveal() != "s3cret" ||
		g.Machine.Type != "mower" || g.Machine.Options.(*mower).Blades != 2 || g.Machine.Line != 7 {
		t.Errorf("second pass: %+v, %v", g, d.Problems())
	}
	if inline, files := d.Secrets(); inline || len(files) != 1 || files[0] != "/key" {
		t.Error(inline, files)
	}
	at, ok := d.Checkable(&g.Water)
	if !ok || at.Line != 4 || at.Path != "water" || at.References != "${env:WATER}" || d.Show(at, "5m") == `"5m"` {
		t.Errorf("%+v", at)
	}
	if p := d.At(Entry(&g.Labels, "shade")); p.Line != 5 || p.Path != "labels.shade" || !d.IsSet(&g.Beds[0]) {
		t.Errorf("%+v", p)
	}
}

// All mistakes at once, each with its line and a remedy; no value of a variable or a file.
func TestDecodeReportsAll(t *testing.T) {
	env := func(string) (string, bool) { return "planted", true }
	read := func(string) ([]byte, error) { return nil, fs.ErrNotExist }
	_, d := decode(t, `beds: {plant: kale}
irrigation: 5m
waters: 5m
water: ${env:WATER}
key: ${file:/key}
machine: {type: mover}
`, NewFetcher(env, read, nil))
	want := []string{
		`g.yaml:1: beds: want a list, got keys with values`,
		`g.yaml:2: irrigation: unknown key; did you mean "water"?`,
		`g.yaml:3: waters: unknown key; did you mean "water"?`,
		`g.yaml:4: water: the value of ${env:WATER}: is not a duration; ` +
			`write 90s, 15m, 1h30m or 7d; a bare number is seconds`,
		`g.yaml:5: key: ${file:/key}: there is no such file`,
		`g.yaml:6: machine.type: "mover" is not an engine of this build; did you mean "mower"?`,
	}
	if got := d.Problems().Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	_, d = decode(t, "beds:\n- plant: cake\nwater: 2h\nmachine: {type: mower}\n", nil)
	want = []string{
		`g.yaml:2: beds[0].plant: "cake" is not allowed here; did you mean "kale"?`,
		`g.yaml:3: water: "2h" is out of range; write a value from 1m to 1h`,
		`g.yaml:4: machine.blades: has no blades`,
	}
	if got := d.Problems().Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
