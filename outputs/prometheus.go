package outputs

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
)

// Prometheus is the options of the output `prometheus`: what is remembered, as metrics for a scrape of its own.
type Prometheus struct {
	Name          string            `yaml:"name" doc:"What the output is called in metrics and logs. Default: its type, then type-2, type-3 and so on."`
	Path          string            `yaml:"path" doc:"Where it answers, below /metrics/: one output a path."`
	Kinds         []string          `yaml:"kinds" names:"kinds" doc:"Kinds of resources by name or glob; \"!glob\" leaves out. Each is a metric, as aws_ec2_instance_info."`
	Labels        map[string]string `yaml:"labels" doc:"More labels, as {team: tags.team, vpc: data.VpcId}: a field as collector list --columns takes it. In a name, what a label cannot have becomes _; two names that become one are refused, and so are account, account_id, region, id, name, state and type, which are always there."`
	MaxSeries     int               `yaml:"max_series" range:"1..10000000" doc:"At most so many resources have a series; the metric collector_inventory_series_dropped says how many have none."`
	ServedOptions `yaml:",inline"`
}

const metricsPath = "/metrics/"

func prometheusDefaults() any {
	return &Prometheus{Path: metricsPath + "inventory", Kinds: []string{"ec2_instance"}, MaxSeries: 50_000}
}

func prometheusKey(options any) string { return "GET " + options.(*Prometheus).Path }

func (o *Prometheus) outputName() string { return o.Name }

// Validate reports everything that is wrong.
func (o *Prometheus) Validate() error {
	errs := o.validate()
	if rest, ok := strings.CutPrefix(o.Path, metricsPath); !ok || !isPlainPath(rest) {
		errs = append(
			errs,
			fmt.Errorf(
				"path: %q is no path below %s, such as %sinventory: letters, digits, dots, -, _ and /", o.Path, metricsPath,
				metricsPath,
			),
		)
	}
	if len(o.Kinds) == 0 {
		errs = append(errs, errors.New("kinds: nothing is named"))
	}
	if o.MaxSeries < 1 {
		errs = append(errs, fmt.Errorf("max_series: %d is less than 1", o.MaxSeries))
	}
	if _, err := o.parseLabels(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// isPlainPath reports whether s stands for itself in a URL.
func isPlainPath(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if !isPlainName(part) {
			return false
		}
	}
	return true
}

// isPlainName reports whether s stands for itself as a part of a URL's path.
func isPlainName(s string) bool {
	for _, c := range []byte(s) {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
				return false
			}
		}
	}
	return strings.Trim(s, ".") != ""
}

// infoLabels is the labels that each series has, in this order.
var infoLabels = [...]string{"account", "account_id", "region", "id", "name", "state", "type"}

func (o *Prometheus) parseLabels() ([]label, error) {
	return parseLabels(o.Labels, func(name string) string {
		switch {
		case slices.Contains(infoLabels[:], name):
			return "there already, as the " + name
		case strings.HasPrefix(name, "__"):
			return "Prometheus's own"
		}
		return ""
	})
}

// exposition renders a scrape.
type exposition struct {
	Prometheus
	labels []label
	store  inventory.Reader
}

func servePrometheus(name string, options any, d Deps) (Served, error) {
	o := options.(*Prometheus)
	more, err := o.parseLabels()
	if err != nil {
		return Served{}, err
	}
	h, err := newAnswerHandler(name, &exposition{*o, more, d.Store}, d)
	return Served{o.Path, h}, err
}

// contentType is OpenMetrics where it is asked for, else Prometheus's text.
func (x *exposition) contentType(h http.Header) string {
	return string(expfmt.NegotiateAccept(h, expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtOpenMetrics_0_0_1, expfmt.FmtText))
}

// overMaxSeries is why a resource has no series.
const overMaxSeries = "max_series"

// render writes a family of metrics a kind. Package expfmt wants a family whole, with all its series in memory, so the
// lines are written here; gauges look alike in both formats, but for the end.
func (x *exposition) render(ctx context.Context, contentType string, w *bufio.Writer) (answerCounts, error) {
	var t answerCounts
	f, err := x.checkFreshness(ctx, x.store, func(kind string) bool { return config.Matches(x.Kinds, kind) })
	if err != nil {
		return t, err
	}
	const listed = "collector_inventory_listed_timestamp_seconds"
	writeFamily(
		w,
		listed,
		"When the target of this account and kind was listed in full for which that is the longest ago, in seconds since the epoch: no series of them is older.",
	)
	for _, k := range f.accounts {
		s := newSample(w, listed)
		s.writeLabel("account", k.account)
		s.writeLabel("account_id", k.accountID)
		s.writeLabel("kind", k.kind)
		s.writeValue(strconv.FormatFloat(float64(f.oldest[k].UnixMilli())/1000, 'f', -1, 64))
	}
	dropped := make([]int, len(f.kinds))
	for i, kind := range f.kinds {
		if dropped[i], err = x.writeKind(ctx, w, kind, &t); err != nil {
			return t, err
		}
	}
	const without = "collector_inventory_series_dropped"
	writeFamily(
		w,
		without,
		"Resources of a kind that have no series, as there are more than max_series: the last by kind, account, region and id.",
	)
	for i, kind := range f.kinds {
		s := newSample(w, without)
		s.writeLabel("kind", kind)
		s.writeValue(strconv.Itoa(dropped[i]))
	}
	if strings.HasPrefix(contentType, expfmt.OpenMetricsType) {
		_, err = w.WriteString("# EOF\n")
	}
	return t, err
}

// writeKind writes a kind's series, and says how many resources have none.
func (x *exposition) writeKind(
	ctx context.Context, w *bufio.Writer, writeKind string, t *answerCounts,
) (dropped int, err error) {
	found, err := x.find(ctx, x.store, writeKind, anyNeedsData(x.labels))
	if err != nil {
		return 0, err
	}
	metric := "aws_" + labelName(writeKind) + "_info"
	first := true
	for r, err := range found {
		if err != nil {
			return dropped, err
		}
		if t.shown >= x.MaxSeries {
			dropped++
			continue
		}
		if first {
			writeFamily(
				w,
				metric,
				"1 for each "+writeKind+" that the last full listing of its account and region showed, labelled by what it is.",
			)
			first = false
		}
		s := newSample(w, metric)
		for i, v := range [len(infoLabels)]string{r.Account, r.AccountID, r.Region, r.ID, r.Name, r.State, r.Type} {
			s.writeLabel(infoLabels[i], v)
		}
		for _, l := range x.labels {
			v, err := l.value(r)
			if err != nil {
				return dropped, err
			}
			s.writeLabel(l.name, v)
		}
		if err := s.writeValue("1"); err != nil {
			return dropped, err
		}
		t.shown++
	}
	t.addLeftOut(overMaxSeries, dropped)
	return dropped, nil
}

// writeFamily begins a family of gauges.
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
func writeFamily(w *bufio.Writer, name, help string) {
	for _, s := range []string{"# HELP ", name, " ", help, "\n# TYPE ", name, " gauge\n"} {
		_, _ = w.WriteString(s) // a bufio.Writer keeps its error
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

// labelEscaper is what a label's value cannot have as it is.
var labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// writeValue ends the line. Its error is that of any of the line's writes.
func (s *sample) writeValue(v string) error {
	_, _ = s.w.WriteString("} ")
	_, _ = s.w.WriteString(v)
	return s.w.WriteByte('\n')
}
