// Package prometheus is the output `prometheus`: resources of the store as metrics, with a scrape path of their own.
package prometheus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/expfmt"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/labels"
	"github.com/aws-collector/collector/outputs/internal/served"
)

// Options is the options of the output `prometheus`: resources of the store as metrics, with their own scrape path.
type Options struct {
	Name           string            `yaml:"name" doc:"The output's name in metrics and logs. Default: its type, then type-2, type-3 and so on."`
	Path           string            `yaml:"path" doc:"The path of the metrics, below /metrics/; each output needs its own."`
	Kinds          []string          `yaml:"kinds" names:"kinds" doc:"Kinds of resources by name or glob; \"!glob\" excludes. Each is a metric, such as aws_ec2_instance_info."`
	Labels         map[string]string `yaml:"labels" doc:"More labels, such as {team: tags.team, vpc: data.VpcId}: fields of collector list --columns. Characters that a label cannot have become _; two names that become equal are an error, and so are the built-in account, account_id, region, id, name, state and type."`
	MaxSeries      int               `yaml:"max_series" range:"1..10000000" doc:"The largest number of resources with a series; the metric collector_inventory_omitted_series counts the others."`
	served.Options `yaml:",inline"`
}

const metricsPath = "/metrics/"

// Type is this output.
var Type = outputs.Type{
	Name: "prometheus", Options: defaults, Key: key, Serve: serve,
}

func defaults() any {
	return &Options{Path: metricsPath + "inventory", Kinds: []string{"ec2_instance"}, MaxSeries: 50_000}
}

func key(options any) string { return "GET " + options.(*Options).Path }

// OutputName returns the configured name.
func (o *Options) OutputName() string { return o.Name }

// Validate reports every error in the options.
func (o *Options) Validate() error {
	errs := o.ServedErrors()
	if rest, ok := strings.CutPrefix(o.Path, metricsPath); !ok || !served.IsPlainPath(rest) {
		errs = append(
			errs,
			fmt.Errorf(
				"path: %q is not a path below %s, such as %sinventory: use letters, digits, dots, -, _ and /", o.Path, metricsPath,
				metricsPath,
			),
		)
	}
	if len(o.Kinds) == 0 {
		errs = append(errs, errors.New("kinds: is empty"))
	}
	if o.MaxSeries < 1 {
		errs = append(errs, fmt.Errorf("max_series: %d is less than 1", o.MaxSeries))
	}
	if _, err := o.parseLabels(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// infoLabels are the labels that every series has, in this order.
var infoLabels = [...]string{"account", "account_id", "region", "id", "name", "state", "type"}

func (o *Options) parseLabels() ([]labels.Label, error) {
	return labels.Parse(o.Labels, func(name string) string {
		switch {
		case slices.Contains(infoLabels[:], name):
			return "built in"
		case strings.HasPrefix(name, "__"):
			return "Prometheus's own"
		}
		return ""
	})
}

// exposition renders the metrics.
type exposition struct {
	Options
	labels []labels.Label
	store  inventory.Reader
}

func serve(name string, options any, d outputs.Deps) (outputs.Served, error) {
	o := options.(*Options)
	more, err := o.parseLabels()
	if err != nil {
		return outputs.Served{}, err
	}
	h, err := served.NewHandler(name, &exposition{*o, more, d.Store}, d)
	return outputs.Served{Path: o.Path, Handler: h}, err
}

// ContentType is OpenMetrics if the client accepts it, else Prometheus's text format.
func (x *exposition) ContentType(h http.Header) string {
	return string(expfmt.NegotiateAccept(h, expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtOpenMetrics_0_0_1, expfmt.FmtText))
}

// overMaxSeries is the reason that a resource has no series.
const overMaxSeries = "max_series"

// Render writes one family of metrics per kind. Package expfmt needs all series of a family in memory, so the lines are
// written here; both formats write gauges in the same way, except for the end of the text.
func (x *exposition) Render(ctx context.Context, contentType string, w *bufio.Writer) (served.Counts, error) {
	var t served.Counts
	f, err := x.CheckFreshness(ctx, x.store, func(kind string) bool { return config.Matches(x.Kinds, kind) })
	if err != nil {
		return t, err
	}
	const listed = "collector_inventory_listed_timestamp_seconds"
	writeFamily(
		w,
		listed,
		"When the targets of this account and kind were last completely listed, the oldest of them, in Unix seconds.",
	)
	for _, k := range f.Accounts {
		s := newSample(w, listed)
		s.writeLabel("account", k.Account)
		s.writeLabel("account_id", k.AccountID)
		s.writeLabel("kind", k.Kind)
		s.writeValue(strconv.FormatFloat(float64(f.Oldest[k].UnixMilli())/1000, 'f', -1, 64))
	}
	omitted := make([]int, len(f.Kinds))
	for i, kind := range f.Kinds {
		if omitted[i], err = x.writeKind(ctx, w, kind, &t); err != nil {
			return t, err
		}
	}
	const omittedMetric = "collector_inventory_omitted_series"
	writeFamily(
		w,
		omittedMetric,
		"Resources of a kind without a series because of max_series: the last by kind, account, region and id.",
	)
	for i, kind := range f.Kinds {
		s := newSample(w, omittedMetric)
		s.writeLabel("kind", kind)
		s.writeValue(strconv.Itoa(omitted[i]))
	}
	if strings.HasPrefix(contentType, expfmt.OpenMetricsType) {
		_, err = w.WriteString("# EOF\n")
	}
	return t, err
}

// writeKind writes the series of a kind, and returns how many resources have none.
func (x *exposition) writeKind(
	ctx context.Context, w *bufio.Writer, kind string, t *served.Counts,
) (omitted int, err error) {
	found, err := x.Find(ctx, x.store, kind, labels.AnyNeedsData(x.labels))
	if err != nil {
		return 0, err
	}
	metric := "aws_" + labels.Name(kind) + "_info"
	first := true
	for r, err := range found {
		if err != nil {
			return omitted, err
		}
		if t.Shown >= x.MaxSeries {
			omitted++
			continue
		}
		if first {
			writeFamily(
				w,
				metric,
				"1 for each "+kind+" in the last complete listing of its account and region, with its fields as labels.",
			)
			first = false
		}
		s := newSample(w, metric)
		for i, v := range [len(infoLabels)]string{r.Account, r.AccountID, r.Region, r.ID, r.Name, r.State, r.Type} {
			s.writeLabel(infoLabels[i], v)
		}
		for _, l := range x.labels {
			v, err := l.Value(r)
			if err != nil {
				return omitted, err
			}
			s.writeLabel(l.Name, v)
		}
		if err := s.writeValue("1"); err != nil {
			return omitted, err
		}
		t.Shown++
	}
	t.AddLeftOut(overMaxSeries, omitted)
	return omitted, nil
}

// writeFamily writes the header of a family of gauges.
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
func writeFamily(w *bufio.Writer, name, help string) {
	for _, s := range []string{"# HELP ", name, " ", help, "\n# TYPE ", name, " gauge\n"} {
		_, _ = w.WriteString(s) // a bufio.Writer returns its error later
	}
}

// A sample is a line that is being written.
type sample struct {
	w         *bufio.Writer
	hasLabels bool
}

func newSample(w *bufio.Writer, name string) sample {
	_, _ = w.WriteString(name)
	return sample{w: w}
}

func (s *sample) writeLabel(name, value string) {
	if s.hasLabels {
		_ = s.w.WriteByte(',')
	} else {
		_ = s.w.WriteByte('{')
	}
	s.hasLabels = true
	_, _ = s.w.WriteString(name)
	_, _ = s.w.WriteString(`="`)
	_, _ = labelEscaper.WriteString(s.w, strings.ToValidUTF8(value, "\uFFFD"))
	_ = s.w.WriteByte('"')
}

// labelEscaper escapes a label's value.
var labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// writeValue ends the line. It returns the error of any write of the line.
func (s *sample) writeValue(v string) error {
	_, _ = s.w.WriteString("} ")
	_, _ = s.w.WriteString(v)
	return s.w.WriteByte('\n')
}
