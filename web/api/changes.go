package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// A change is how a resource differs, or that it is new or gone.
type change struct {
	What      string            `json:"what"` // added, changed or gone
	At        *time.Time        `json:"at"`   // null in a comparison of two instants
	Kind      string            `json:"kind"`
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Account   string            `json:"account"`
	AccountID string            `json:"account_id"`
	Partition string            `json:"partition"`
	Region    string            `json:"region"`
	Changes   []inventory.Delta `json:"changes"`
	Ended     string            `json:"ended"` // why it is gone
	// Record is the resource after the change, or before it if it is gone; only with details.
	Record *record.Record `json:"record,omitempty"`

	key []string
}

func newChange(c inventory.Change, q *query.Question) (change, error) {
	l, err := inventory.NewChangeLine(c)
	k := inventory.KeyOf(c.Resource())
	out := change{
		What: l.Change, At: l.At, Kind: l.Kind, ID: l.ID, Name: l.Name, Account: l.Account, AccountID: l.AccountID,
		Partition: l.Partition, Region: l.Region, Changes: l.Changes, Ended: l.Ended,
		key: []string{k.Kind, k.Account, k.Region, k.ID, k.AccountID, k.Partition},
	}
	if q.Details {
		out.Record = l.Record
	}
	return out, err
}

// diff serves the differences between two instants. All pages compare the same two.
func (a *API) diff(w http.ResponseWriter, r *request) error {
	if a.o.Store == nil {
		return errNothingStored()
	}
	from, to := r.question.From, r.question.To
	switch {
	case from.IsZero():
		return problem{Status: http.StatusBadRequest, Detail: "the parameter from is missing",
			Hint: "Set from to an instant, or to an age such as 3d."}
	case to.IsZero():
		to = r.question.Now
	}
	if !r.cursor.At.IsZero() {
		from, to = r.cursor.From, r.cursor.At
	}
	q := r.question.Query
	q.Data = true
	var err error
	if q.After, err = r.resourceKey(); err != nil {
		return err
	}
	unknown, err := a.unknown(r.Context(), &r.question)
	if err != nil {
		return err
	}
	s := a.newStream(w, r, nil, unknown)
	if r.media != typeJSON && r.Method == http.MethodHead {
		return s.begin()
	}
	var lines []change
	for c, err := range a.o.Store.Diff(r.Context(), q, from, to) {
		var line change
		if err == nil {
			line, err = newChange(c, &r.question)
		}
		if r.media == typeJSON {
			if err != nil {
				return err
			}
			if lines = append(lines, line); len(lines) > r.question.Limit {
				break
			}
			continue
		}
		if err == nil {
			err = s.row(line)
		}
		if err != nil {
			return s.end(err)
		}
	}
	if r.media != typeJSON {
		return s.end(nil)
	}
	out := newSet(r, lines, func(c change) cursor { return cursor{Key: c.key, At: to, From: from} })
	out.Unknown = unknown
	return writeJSON(w, out)
}

// changesAge is where changes begin without since.
const changesAge = 24 * time.Hour

// A position is the last change that was answered: its instant, and its id among the changes of one commit.
type position struct {
	at time.Time
	id string // "": all of the instant
}

func (p position) queryAfter() time.Time {
	if p.id == "" {
		return p.at
	}
	return p.at.Add(-time.Microsecond) // the store's instants are whole microseconds
}

func (p position) covers(c inventory.Change) bool {
	return p.id != "" && (c.At.Before(p.at) || c.At.Equal(p.at) && c.Resource().ID <= p.id)
}

// changes serves what changed, in order: a page, all rows, or events that go on with new changes.
func (a *API) changes(w http.ResponseWriter, r *request) error {
	if a.o.Store == nil {
		return errNothingStored()
	}
	r.question.Data = true
	key, err := r.key(1)
	if err != nil {
		return err
	}
	p := position{at: r.question.Since}
	switch {
	case key != nil:
		p = position{at: r.cursor.At, id: key[0]}
	case !p.at.IsZero():
	case r.media == typeEvents:
		p.at = r.question.Now
	default:
		p.at = r.question.Now.Add(-changesAge)
	}
	if r.media == typeEvents {
		return a.followChanges(w, r, p)
	}
	unknown, err := a.unknown(r.Context(), &r.question)
	if err != nil {
		return err
	}
	s := a.newStream(w, r, nil, unknown)
	if r.media != typeJSON && r.Method == http.MethodHead {
		return s.begin()
	}
	var lines []change
	errStop := errors.New("the page is full")
	err = a.eachChange(r.Context(), r, &p, func(c change) error {
		if r.media != typeJSON {
			return s.row(c)
		}
		if lines = append(lines, c); len(lines) > r.question.Limit {
			return errStop
		}
		return nil
	})
	if r.media != typeJSON {
		return s.end(err)
	}
	if err != nil && !errors.Is(err, errStop) {
		return err
	}
	out := newSet(r, lines, func(c change) cursor { return cursor{Key: []string{c.ID}, At: *c.At} })
	out.Unknown = unknown
	return writeJSON(w, out)
}

// eachChange calls f with each change after p, and moves p.
func (a *API) eachChange(ctx context.Context, r *request, p *position, f func(change) error) error {
	begin := *p
	for c, err := range a.o.Store.Changes(ctx, r.question.Query, begin.queryAfter()) {
		if err != nil {
			return err
		}
		if begin.covers(c) {
			continue
		}
		line, err := newChange(c, &r.question)
		if err != nil {
			return err
		}
		if err := f(line); err != nil {
			return err
		}
		*p = position{at: c.At, id: c.Resource().ID}
	}
	return nil
}

// followChanges sends changes as events, whose ids are cursors, until the client or the program ends.
func (a *API) followChanges(w http.ResponseWriter, r *request, p position) error {
	e := newEvents(w)
	if r.Method == http.MethodHead {
		return nil
	}
	changed, cancel := a.o.Board.Subscribe()
	defer cancel()
	for {
		batch, more, err := a.nextChanges(r, &p)
		for i := range batch {
			id := cursor{Key: []string{batch[i].ID}, At: *batch[i].At}.encode(r.fingerprint())
			if e.send("change", id, batch[i]) != nil {
				return nil
			}
		}
		if err != nil && r.Context().Err() == nil {
			_ = e.send("problem", "", storeProblem(err).complete()) // an error means that the client has gone
		}
		if e.flush() != nil || err != nil || !more && !e.wait(r.Context(), changed) {
			return nil //nolint:nilerr // the client has gone, or reads the error
		}
	}
}

// maxBatch is how many changes are read before they are sent.
const maxBatch = 1000

// nextChanges reads the changes after p, and moves p. It returns before any is sent, so that a client that reads slowly
// holds no connection of the store.
func (a *API) nextChanges(r *request, p *position) (batch []change, more bool, err error) {
	errFull := errors.New("the batch is full")
	err = a.eachChange(r.Context(), r, p, func(c change) error {
		if len(batch) == maxBatch {
			return errFull
		}
		batch = append(batch, c)
		return nil
	})
	if errors.Is(err, errFull) {
		return batch, true, nil
	}
	return batch, false, err
}

// events sends which accounts changed, at most once a second. A client asks again for what it shows.
func (a *API) events(w http.ResponseWriter, r *request) error {
	e := newEvents(w)
	if r.Method == http.MethodHead {
		return nil
	}
	changed, cancel := a.o.Board.Subscribe()
	defer cancel()
	before := a.marks()
	if err := e.send("hello", "", event{At: r.question.Now, Accounts: []string{}}); err != nil {
		return nil //nolint:nilerr // the client has gone
	}
	for {
		if e.flush() != nil || !e.wait(r.Context(), changed) {
			return nil
		}
		now := a.marks()
		ev := event{At: time.Now().UTC(), Accounts: []string{}}
		for name, mark := range now {
			if before[name] != mark {
				ev.add(name)
			}
		}
		for name := range before {
			if _, stays := now[name]; !stays {
				ev.add(name)
			}
		}
		before = now
		if len(ev.Accounts) > 0 && e.send("changed", "", ev) != nil {
			return nil
		}
	}
}

// An event is what changed on the status board.
type event struct {
	At       time.Time `json:"at"`
	Accounts []string  `json:"accounts"` // at most maxEventAccounts
	More     int       `json:"more,omitempty"`
}

const maxEventAccounts = 100

func (e *event) add(name string) {
	if len(e.Accounts) < maxEventAccounts {
		e.Accounts = append(e.Accounts, name)
	} else {
		e.More++
	}
}

// marks returns what differs when an account changed, by its name.
func (a *API) marks() map[string]string {
	marks := map[string]string{}
	for info := range a.o.Board.Accounts() {
		text := fmt.Sprint(
			info.Identity, info.Next.Unix(), info.Expires.Unix(), info.Last.Run, len(info.Regions), info.Warning,
		)
		if info.Paused != nil {
			text += " paused"
		}
		for _, run := range info.Running {
			text += fmt.Sprint(" ", run.Run, run.Targets)
		}
		marks[info.Name] = text
	}
	return marks
}
