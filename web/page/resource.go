package page

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/web/api"
)

// resourceData is what the template of a resource shows.
type resourceData struct {
	*inventory.Resource
	Row             resourceRow
	Heading         string // its name, else its id
	At              time.Time
	Gone            bool
	Tags, ExtraTags []tagView
	Facts           []pair // members that people look for first
	Versions        []versionView
	Changes         string
	Members         []member
	Instants        []option
	AtText          string
	WithAt          []hiddenField // the other parameters
	Now             string        // the URL without an instant
	Related         []relatedView
	Graph           template.HTML // of them
	Same            sameQuestion
	KindURL         string
	More            bool // there are more members than are shown
}

type pair struct{ Name, Value string }

// A tagView is a tag with the URL of the resources that have it.
type tagView struct{ Name, Value, URL string }

func tagViews(field string, tags map[string]string, at string) (views []tagView) {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		term := inventory.QuoteWord(field+"."+key) + "=" + inventory.QuoteWord(tags[key])
		q := url.Values{"where": {term}}
		if at != "" {
			q.Set("at", at)
		}
		views = append(views, tagView{key, tags[key], withQuery("/inventory", q)})
	}
	return views
}

// A versionView is a version of a resource: what changed when.
type versionView struct {
	At      time.Time
	What    string // added, changed or gone
	Words   string
	Deltas  []deltaView
	More    int
	Run     string
	Earlier string // the URL of the resource just before
}

type deltaView struct{ Path, From, To string }

// A member is a line of the data: a value, or the name of an object.
type member struct {
	Name, Value string
	Depth       int
	Branch      bool
}

const (
	maxDeltas   = 12
	maxMembers  = 1000
	maxVersions = 200
	maxChoices  = 100
	maxDepth    = 4 // that the style sheet indents
)

func (p *Page) resourceView(ctx context.Context, r *request) (content, error) {
	if p.o.Store == nil {
		return nothingStored("/inventory"), nil
	}
	parameters := []query.Parameter{query.Account, query.Region, query.At}
	q, err := r.parse(parameters, p.o.Kinds)
	if err != nil {
		return badQuestion(err, "/inventory"), nil
	}
	q.Kinds, q.ID, q.Data = []string{r.PathValue("kind")}, r.PathValue("id"), true
	q.Limit = maxChoices
	var found []*inventory.Resource
	for res, err := range p.o.Store.Find(ctx, q.Query) {
		if err != nil {
			return content{}, fmt.Errorf("find a resource: %w", err)
		}
		found = append(found, res)
	}
	all, err := p.coverage(ctx, r.now)
	if err != nil {
		return content{}, err
	}
	if len(found) > 1 {
		return p.choices(ctx, found, &q, all.failing)
	}
	history := q.Query
	history.At, history.Limit = time.Time{}, 0
	versions, err := p.versions(ctx, history)
	if err != nil {
		return content{}, err
	}
	d := resourceData{At: q.At}
	switch {
	case len(found) == 1:
		d.Resource = found[0]
	case len(versions) > 0 && q.At.IsZero():
		d.Resource, d.Gone = versions[len(versions)-1], true
	default:
		return noResource(q), nil
	}
	versions = slices.DeleteFunc(versions, func(v *inventory.Resource) bool {
		return v.AccountID != d.AccountID || v.Region != d.Region || v.Partition != d.Partition
	})
	d.Row = p.row(d.Resource, q.At, all.failing)
	if err := d.fill(versions, r, parameters); err != nil {
		return content{}, err
	}
	if err := p.addRelated(ctx, &d); err != nil {
		return content{}, err
	}
	return content{template: "resource.html", title: shorten(d.Heading, 80), tab: "/inventory", data: d}, nil
}

func (p *Page) versions(ctx context.Context, q inventory.Query) ([]*inventory.Resource, error) {
	var all []*inventory.Resource
	for v, err := range p.o.Store.History(ctx, q) {
		if err != nil {
			return nil, fmt.Errorf("read the history of a resource: %w", err)
		}
		if all = append(all, v); len(all) > 2*maxVersions {
			all = all[maxVersions:] // a long history: only its end
		}
	}
	return all, nil
}

func noResource(q query.Question) content {
	m := message{Heading: "No resource has the id " + shorten(q.ID, 80), Back: link{Text: "Inventory", URL: "/inventory"},
		Text: "It was never seen in a complete listing, or its history is no longer kept."}
	if !q.At.IsZero() {
		m.Heading = "No resource had the id " + shorten(q.ID, 80) + " at " + fullTime(q.At)
	}
	return content{
		template: "message.html", title: "No such resource", tab: "/inventory", status: http.StatusNotFound, data: m,
	}
}

// choicesData asks which one is meant: several accounts and regions can have an id.
type choicesData struct {
	ID    string
	Table resourceTable
}

func (p *Page) choices(
	ctx context.Context, found []*inventory.Resource, q *query.Question, failing map[record.Target]bool,
) (content, error) {
	d := choicesData{ID: found[0].ID, Table: resourceTable{Columns: columnsOf(nil)}}
	for _, res := range found {
		row, err := p.cells(ctx, res, q, d.Table.Columns, failing)
		if err != nil {
			return content{}, err
		}
		d.Table.Rows = append(d.Table.Rows, row)
	}
	return content{template: "choices.html", title: "Which one?", tab: "/inventory", data: d}, nil
}

func (d *resourceData) fill(versions []*inventory.Resource, r *request, parameters []query.Parameter) error {
	d.Heading = d.Name
	if d.Heading == "" {
		d.Heading = d.ID
	}
	d.AtText, d.WithAt = r.values.Get("at"), r.hidden("at")
	d.Tags = tagViews("tags", d.Resource.Tags, d.AtText)
	d.ExtraTags = tagViews("extra_tags", d.Resource.ExtraTags, d.AtText)
	var data any
	dec := json.NewDecoder(bytes.NewReader(d.Data))
	dec.UseNumber()
	if err := dec.Decode(&data); err != nil {
		return fmt.Errorf("read the data of %s: %w", d.ID, err)
	}
	d.Members = members(nil, "", data, 0)
	if len(d.Members) > maxMembers {
		d.Members, d.More = d.Members[:maxMembers], true
	}
	d.addFacts(data)
	if err := d.addVersions(versions, r); err != nil {
		return err
	}
	for _, i := range []option{{"Now", "", "", false}, {"1 d ago", "1d", "", false}, {"7 d", "7d", "", false}} {
		i.URL, i.Current = r.with("at", i.Value), i.Value == r.values.Get("at")
		d.Instants = append(d.Instants, i)
	}
	d.Now = r.with("at", "")
	path := "resources/" + url.PathEscape(d.Kind) + "/" + url.PathEscape(d.ID) + "/history"
	d.Same = same("history "+quoted(d.ID), path, parameters[:2], r)
	d.KindURL = "/inventory?kind=" + escapeValue(d.Kind)
	return nil
}

// A relatedView is a resource that this one points at, or that points at it, by one or several members.
type relatedView struct {
	api.Related
	From, To bool // it points at this resource; this one points at it
	By       []string
	URL      string // "": the store has no such resource
}

const maxRelatedShown = 100

func (p *Page) addRelated(ctx context.Context, d *resourceData) error {
	if p.o.Related == nil {
		return nil
	}
	at := d.At
	if d.Gone {
		at = d.ValidTo.Add(-time.Microsecond) // as it was last, and what was around it then
	}
	all, err := p.o.Related(ctx, d.Resource, at)
	if err != nil {
		return fmt.Errorf("read what is related to %s: %w", d.ID, err)
	}
	type key struct{ kind, id, accountID, region string }
	rows := map[key]int{}
	for _, r := range all {
		by := r.Path
		if r.Direction != "to" {
			by = "its " + r.Path
		}
		k := key{r.Kind, r.ID, r.AccountID, r.Region}
		if i, known := rows[k]; known {
			v := &d.Related[i]
			v.By, v.From, v.To = append(v.By, by), v.From || r.Direction != "to", v.To || r.Direction == "to"
			continue
		}
		if len(d.Related) == maxRelatedShown {
			continue
		}
		rows[k] = len(d.Related)
		v := relatedView{Related: r, From: r.Direction != "to", To: r.Direction == "to", By: []string{by}}
		if r.Found {
			v.URL = resourceURL(&inventory.Resource{Record: record.Record{
				Kind: r.Kind, ID: r.ID, Account: r.Account, AccountID: r.AccountID, Region: r.Region,
			}}, at)
		}
		d.Related = append(d.Related, v)
	}
	d.Graph = relationGraph(d.Resource, d.Related)
	return nil
}

// factMembers are members that people look for first, where a resource has them.
var factMembers = [...]pair{
	{"Private address", "PrivateIpAddress"}, {"Public address", "PublicIpAddress"}, {"Address", "PublicIp"},
	{"Zone", "AvailabilityZone"}, {"CIDR", "CidrBlock"}, {"VPC", "VpcId"}, {"Subnet", "SubnetId"}, {"Size (GiB)", "Size"},
	{"Encrypted", "Encrypted"}, {"Description", "Description"},
}

func (d *resourceData) addFacts(data any) {
	object, _ := data.(map[string]any)
	for _, f := range factMembers {
		if v, ok := object[f.Value]; ok && v != "" {
			d.Facts = append(d.Facts, pair{f.Name, shorten(scalar(v), 80)})
		}
	}
}

// addVersions shows the versions, the latest first.
func (d *resourceData) addVersions(versions []*inventory.Resource, r *request) error {
	var previous *inventory.Resource
	for _, v := range versions {
		line, follows, err := query.NewVersionLine(previous, v)
		if err != nil {
			return fmt.Errorf("compare versions of %s: %w", d.ID, err)
		}
		previous = v
		view := versionView{At: v.ValidFrom, What: inventory.WasAdded, Words: "first seen", Run: v.Run}
		if v.State != "" {
			view.Words += ", " + v.State
		}
		if follows {
			view.What, view.Words = inventory.WasChanged, count(len(line.Changes), "member")+" changed"
			view.Earlier = r.with("at", fullTime(v.ValidFrom.Add(-time.Second)))
		}
		view.Deltas, view.More = deltaViews(line.Changes, maxDeltas, 300)
		d.Versions = append(d.Versions, view)
		if v.Ended != "" {
			d.Versions = append(d.Versions, versionView{At: v.ValidTo, What: inventory.WasGone, Words: endedWords(v.Ended),
				Earlier: r.with("at", fullTime(v.ValidTo.Add(-time.Second)))})
		}
	}
	slices.Reverse(d.Versions)
	d.Changes = count(len(d.Versions), "event")
	if len(d.Versions) > maxVersions {
		d.Versions, d.Changes = d.Versions[:maxVersions], "the last "+number(maxVersions)
	}
	return nil
}

// deltaViews returns the first members that differ, with values of at most length characters.
func deltaViews(deltas []inventory.Delta, most, length int) (views []deltaView, more int) {
	for _, delta := range deltas[:min(len(deltas), most)] {
		views = append(views, deltaView{delta.Path, shorten(rawText(delta.From), length), shorten(rawText(delta.To), length)})
	}
	return views, len(deltas) - len(views)
}

// rawText is a JSON value for people: strings without quotes, nothing for null.
func rawText(raw json.RawMessage) string {
	var s string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &s) == nil:
		return shorten(s, 300)
	}
	return shorten(string(raw), 300)
}

// endedWords say why a resource is gone.
func endedWords(ended string) string {
	words := map[string]string{
		inventory.Absent:         "gone: a complete listing did not contain it",
		inventory.Terminated:     "gone: terminated or deleted",
		inventory.AccountRemoved: "gone: the configuration no longer names its account",
		inventory.RegionRemoved:  "gone: AWS no longer names its region",
		inventory.KindRemoved:    "gone: the configuration no longer names its kind",
	}[ended]
	if words == "" {
		return "gone: " + ended
	}
	return words
}

// members flattens data to lines, objects and lists with their names first.
func members(lines []member, name string, v any, depth int) []member {
	if len(lines) > maxMembers {
		return lines
	}
	children := func(names []string, child func(string) any) {
		if name != "" {
			lines = append(lines, member{Name: name, Depth: min(depth-1, maxDepth), Branch: true})
		}
		for _, n := range names {
			lines = members(lines, n, child(n), depth+1)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		children(slices.Sorted(maps.Keys(v)), func(n string) any { return v[n] })
	case []any:
		names := make([]string, len(v))
		for i := range v {
			names[i] = "[" + strconv.Itoa(i) + "]"
		}
		children(names, func(n string) any {
			i, _ := strconv.Atoi(strings.Trim(n, "[]"))
			return v[i]
		})
	default:
		lines = append(lines, member{Name: name, Value: shorten(scalar(v), 2000), Depth: min(depth-1, maxDepth)})
	}
	return lines
}

func scalar(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
