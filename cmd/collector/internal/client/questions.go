package client

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// answerTimeout is how long the first byte of an answer may take. A stream may last longer.
const answerTimeout = time.Minute

// maxPage is the number of rows of the largest page, and the largest limit.
const maxPage = 1000

// errStopped ends an answer whose reader has enough.
var errStopped = errors.New("the reader has enough")

// An end is the last line of a stream.
type end struct {
	Notes   []string
	Unknown struct {
		NotIndexed int `json:"not_indexed"`
	}
	Error *struct{ Detail, Hint string }
}

// Find implements [query.Answers].
func (c *Client) Find(ctx context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	values := selection(&q)
	if q.Limit > 0 && q.Limit <= maxPage {
		values.Set(query.Limit.Name, strconv.Itoa(q.Limit))
	}
	rows := stream(ctx, c, "resources", values, resourceOf)
	if q.Limit > maxPage {
		rows = inventory.First(q.Limit, rows)
	}
	return rows
}

func resourceOf(l query.ResourceLine) (*inventory.Resource, error) {
	if l.Record == nil {
		return nil, errors.New("a resource has no record")
	}
	r := &inventory.Resource{
		Record: *l.Record, State: l.State, Type: l.Type, FirstSeen: l.FirstSeen, StateSince: l.StateSince,
		ValidFrom: l.ValidFrom, Ended: l.Ended,
	}
	setIfKnown(&r.ValidTo, l.ValidTo)
	setIfKnown(&r.LastSeen, l.LastSeen)
	return r, nil
}

func setIfKnown(to, at *time.Time) {
	if at != nil {
		*to = *at
	}
}

// History implements [query.Answers].
func (c *Client) History(ctx context.Context, q *query.Question) iter.Seq2[query.VersionLine, error] {
	path := "resources/*/" + url.PathEscape(q.ID) + "/history"
	of := selection(&inventory.Query{Accounts: q.Accounts, Regions: q.Regions})
	return func(yield func(query.VersionLine, error) bool) {
		for l, err := range pages[query.VersionLine](ctx, c, path, of) {
			if r := (*Refusal)(nil); errors.As(err, &r) && r.Status == http.StatusNotFound {
				return // no version has the id
			}
			if err == nil && !config.Matches(q.Kinds, l.Kind) {
				continue
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// A change is a change as the API has it.
type change struct {
	What string
	inventory.ChangeLine
}

// changeLine returns a change as commands print it.
func changeLine(c change) (inventory.ChangeLine, error) {
	c.ChangeLine.Change = c.What
	return c.ChangeLine, nil
}

// Diff implements [query.Answers].
func (c *Client) Diff(ctx context.Context, q *query.Question) iter.Seq2[inventory.ChangeLine, error] {
	values := selection(&q.Query)
	setTime(values, query.From.Name, q.From)
	setTime(values, query.To.Name, q.To)
	return stream(ctx, c, "diff", values, changeLine)
}

// Changes implements [query.Answers].
func (c *Client) Changes(
	ctx context.Context, q *query.Question, after time.Time,
) iter.Seq2[inventory.ChangeLine, error] {
	values := selection(&q.Query)
	setTime(values, query.ChangesSince.Name, after)
	return stream(ctx, c, "changes", values, changeLine)
}

// Runs implements [query.Answers].
func (c *Client) Runs(ctx context.Context, q *query.Question, ids ...string) iter.Seq2[inventory.Run, error] {
	values := selection(&inventory.Query{Accounts: q.Accounts})
	setTime(values, query.RunsSince.Name, q.Since)
	for _, s := range q.Statuses {
		values.Add(query.Status.Name, string(s))
	}
	return func(yield func(inventory.Run, error) bool) {
		left := q.Limit
		for l, err := range pages[query.RunLine](ctx, c, "runs", values) {
			if err == nil && len(ids) > 0 && l.Run != ids[0] {
				continue
			}
			if !yield(runOf(&l), err) || err != nil {
				return
			}
			if left--; left == 0 || len(ids) > 0 {
				return
			}
		}
	}
}

func runOf(l *query.RunLine) inventory.Run {
	r := inventory.Run{
		ID: l.Run, Account: l.Account, Status: l.Status, Missed: l.Missed, Ticks: l.Ticks, Targets: l.Targets,
		Failed: l.Failed, Records: l.Records, Calls: l.Calls, Throttles: l.Throttles,
		Process: inventory.Process{Replica: l.Replica, Version: l.Version},
	}
	setIfKnown(&r.Tick, l.Tick)
	setIfKnown(&r.Started, l.Started)
	setIfKnown(&r.Ended, l.Ended)
	for _, cause := range l.Causes {
		r.Causes = append(r.Causes, inventory.Cause{
			State: cause.State, Reason: cause.Reason, Targets: cause.Targets, Region: cause.Region, Kind: cause.Kind,
			Error: cause.Error, Hint: cause.Hint,
		})
	}
	return r
}

// Coverage returns the state of the accounts and regions of the question, problems or not.
func (c *Client) Coverage(ctx context.Context, q *query.Question) (all []query.CoverageLine, err error) {
	values := selection(&inventory.Query{Accounts: q.Accounts, Regions: q.Regions})
	for l, err := range pages[query.CoverageLine](ctx, c, "coverage", values) {
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// NotIndexed implements [query.Answers].
func (c *Client) NotIndexed(context.Context, *query.Question) (int, error) {
	if c.last == nil {
		return 0, nil
	}
	return c.last.Unknown.NotIndexed, nil
}

// Notes implements [query.Answers].
func (c *Client) Notes(ctx context.Context, q *query.Question, _ bool) ([]string, error) {
	if c.last == nil { // it was not a stream, or not read to its end
		first := q.Query
		first.Limit = 1
		for _, err := range c.Find(ctx, first) {
			if err != nil {
				return nil, err
			}
		}
	}
	return c.last.Notes, nil
}

// selection returns the parameters of a question about resources.
func selection(q *inventory.Query) url.Values {
	values := url.Values{}
	for name, list := range map[string][]string{
		query.Kind.Name: q.Kinds, query.Account.Name: q.Accounts, query.Region.Name: q.Regions,
	} {
		for _, value := range list {
			values.Add(name, quoted(value))
		}
	}
	where := q.Where.String()
	if q.ID != "" {
		id := "id='" + strings.ReplaceAll(q.ID, "'", `'"'"'`) + "'"
		if where != "" {
			id += " and (" + where + ")"
		}
		where = id
	}
	if where != "" {
		values.Set(query.Where.Name, where)
	}
	if q.Search != "" {
		values.Set(query.Search.Name, q.Search)
	}
	setTime(values, query.At.Name, q.At)
	return values
}

func setTime(values url.Values, name string, at time.Time) {
	if !at.IsZero() {
		values.Set(name, at.Format(time.RFC3339Nano))
	}
}

// quoted writes a value of a list so that a comma does not split it.
func quoted(value string) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write([]string{value}) // a strings.Builder takes all
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

// get asks a question, and calls read with the answer.
func (c *Client) get(
	ctx context.Context, path string, values url.Values, accept string, read func(io.Reader) error,
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(answerTimeout, func() { cancel(fmt.Errorf("no answer within %s", answerTimeout)) })
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.at(path)+"?"+values.Encode(), nil)
	if err != nil {
		late.Stop()
		return err
	}
	r.Header.Set("Accept", accept)
	resp, err := c.do(r)
	late.Stop()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return read(resp.Body)
}

// stream yields the rows of an answer of any length.
func stream[L, R any](
	ctx context.Context, c *Client, path string, values url.Values, rowOf func(L) (R, error),
) iter.Seq2[R, error] {
	values.Set(query.Details.Name, "true")
	return func(yield func(R, error) bool) {
		c.last = nil
		err := c.get(ctx, path, values, "application/x-ndjson", func(body io.Reader) error {
			return c.readLines(body, func(b []byte) error {
				var line L
				if err := c.decode(b, &line); err != nil {
					return err
				}
				row, err := rowOf(line)
				if err != nil {
					return fmt.Errorf("the answer of %s: %w", c.base.Host, err)
				}
				if !yield(row, nil) {
					return errStopped
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, errStopped) {
			var none R
			yield(none, err)
		}
	}
}

// readLines calls f with each line of a stream but the last, which says that none is missing.
func (c *Client) readLines(body io.Reader, f func([]byte) error) error {
	lines := json.NewDecoder(body)
	for {
		var b json.RawMessage
		if err := lines.Decode(&b); err != nil {
			return fmt.Errorf("the answer of %s is cut: %w", c.base.Host, err)
		}
		if !bytes.HasPrefix(b, []byte(`{"_end":`)) {
			if err := f(b); err != nil {
				return err
			}
			continue
		}
		var last struct {
			End *end `json:"_end"`
		}
		if err := c.decode(b, &last); err != nil {
			return err
		}
		if c.last = last.End; c.last == nil {
			return fmt.Errorf("the answer of %s is cut", c.base.Host)
		}
		if e := last.End.Error; e != nil {
			return &record.Fault{Reason: record.Other, Hint: e.Hint, Err: errors.New(e.Detail)}
		}
		return nil
	}
}

// pages yields the items of an answer that comes in pages.
func pages[T any](ctx context.Context, c *Client, path string, values url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		c.last = nil
		values.Set(query.Limit.Name, strconv.Itoa(maxPage))
		for {
			var page struct {
				Items []T
				Next  string
			}
			err := c.get(ctx, path, values, "application/json", func(body io.Reader) error {
				b, err := io.ReadAll(body)
				if err != nil {
					return fmt.Errorf("the answer of %s is cut: %w", c.base.Host, err)
				}
				return c.decode(b, &page)
			})
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			values.Set("cursor", page.Next)
		}
	}
}
