package check

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// The part of Grafana's dashboards that the tests look at.
type dashboard struct {
	UID        string
	Title      string
	Templating struct{ List []variable }
	Panels     []panel
}

type variable struct {
	Name, Type, Definition string
}

type panel struct {
	ID                 int
	Type, Title        string
	Description        string
	Datasource         struct{ UID string }
	GridPos            struct{ X, Y, W, H int }
	Targets            []struct{ Expr, LegendFormat, RefID string }
	FieldConfig        json.RawMessage
	TransformationList json.RawMessage `json:"transformations"`
}

func readDashboards(t *testing.T) (all []dashboard) {
	t.Helper()
	paths, err := filepath.Glob("../grafana/dashboards/*.json")
	if err != nil || len(paths) != 4 {
		t.Fatalf("%d dashboards, %v", len(paths), err)
	}
	for _, path := range paths {
		var d dashboard
		dec := json.NewDecoder(bytes.NewReader([]byte(readFile(t, path))))
		if err := dec.Decode(&d); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if d.UID != "collector-"+strings.TrimSuffix(filepath.Base(path), ".json") {
			t.Errorf("%s has the uid %s", path, d.UID)
		}
		all = append(all, d)
	}
	return all
}

// parse parses an expression of a dashboard after Grafana has replaced its variables.
func parse(expr string) (parser.Expr, error) {
	p := parser.NewParser(parser.Options{})
	return p.ParseExpr(strings.NewReplacer("$__rate_interval", "5m").Replace(expr))
}

// Each expression of the dashboards parses, and uses only variables of its dashboard. A test of the main module
// compares the names of the metrics with those in the source.
func TestDashboardExpressions(t *testing.T) {
	for _, d := range readDashboards(t) {
		known := map[string]bool{"$__rate_interval": true, "$datasource": true}
		for _, v := range d.Templating.List {
			known["$"+v.Name] = true
		}
		seen := 0
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				seen++
				if _, err := parse(target.Expr); err != nil {
					t.Errorf("%s, %s: %v\n%s", d.Title, p.Title, err, target.Expr)
				}
				for _, word := range strings.FieldsFunc(target.Expr, func(r rune) bool {
					return r != '$' && r != '_' && (r < 'a' || r > 'z')
				}) {
					if strings.HasPrefix(word, "$") && !known[word] {
						t.Errorf("%s, %s uses %s, which is no variable of the dashboard", d.Title, p.Title, word)
					}
				}
			}
		}
		if seen < 10 {
			t.Errorf("%s has %d expressions", d.Title, seen)
		}
	}
}

// The panels are on a grid of 24 columns, do not overlap, have their own ids and a description, and take their data
// from the source that the reader chooses.
func TestDashboardPanels(t *testing.T) {
	for _, d := range readDashboards(t) {
		ids := map[int]bool{}
		cells := map[[2]int]string{}
		for _, p := range d.Panels {
			if ids[p.ID] || p.ID == 0 {
				t.Errorf("%s: a second panel with the id %d", d.Title, p.ID)
			}
			ids[p.ID] = true
			if p.Datasource.UID != "${datasource}" || p.Description == "" {
				t.Errorf("%s, %s: data source %q, description %q", d.Title, p.Title, p.Datasource.UID, p.Description)
			}
			g := p.GridPos
			if g.W < 1 || g.H < 1 || g.X+g.W > 24 {
				t.Errorf("%s, %s is outside the grid: %+v", d.Title, p.Title, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other := cells[[2]int{x, y}]; other != "" {
						t.Fatalf("%s: %s covers %s", d.Title, p.Title, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

// The alerts parse with the Prometheus of today, too; promtool in CI is Debian's.
func TestAlertExpressions(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "../prometheus/alerts.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			seen++
			if _, err := parse(r.Expr); err != nil {
				t.Errorf("%s: %v", r.Alert, err)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d alerts", seen)
	}
}
