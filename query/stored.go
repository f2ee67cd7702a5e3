package query

import (
	"context"
	"iter"
	"time"

	"github.com/aws-collector/collector/inventory"
)

// Answers answers the questions of commands: a store, or a running collector.
type Answers interface {
	// Find yields resources.
	Find(ctx context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error]
	// History yields the versions of the resources with the id of the question, oldest first.
	History(ctx context.Context, q *Question) iter.Seq2[VersionLine, error]
	// Diff yields the differences between two instants.
	Diff(ctx context.Context, q *Question) iter.Seq2[inventory.ChangeLine, error]
	// Changes yields the changes after an instant, oldest first.
	Changes(ctx context.Context, q *Question, after time.Time) iter.Seq2[inventory.ChangeLine, error]
	// Runs yields runs, the latest first; with ids only these.
	Runs(ctx context.Context, q *Question, ids ...string) iter.Seq2[inventory.Run, error]
	// NotIndexed returns the number of versions that the search of the question, the last one asked, does not find yet.
	NotIndexed(ctx context.Context, q *Question) (int, error)
	// Notes says why the answer to the question, the last one asked, may lack resources and, if it is empty, why it is.
	Notes(ctx context.Context, q *Question, isEmpty bool) ([]string, error)
}

// Stored answers from a store.
type Stored struct{ Store inventory.Store }

// Find implements [Answers].
func (s Stored) Find(ctx context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	return s.Store.Find(ctx, q)
}

// History implements [Answers].
func (s Stored) History(ctx context.Context, q *Question) iter.Seq2[VersionLine, error] {
	return func(yield func(VersionLine, error) bool) {
		withData := q.Query
		withData.Data = true
		var previous *inventory.Resource
		for v, err := range s.Store.History(ctx, withData) {
			var line VersionLine
			if err == nil {
				line, _, err = NewVersionLine(previous, v)
			}
			if previous = v; !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// Diff implements [Answers].
func (s Stored) Diff(ctx context.Context, q *Question) iter.Seq2[inventory.ChangeLine, error] {
	withData := q.Query
	withData.Data = true
	return changeLines(s.Store.Diff(ctx, withData, q.From, q.To))
}

// Changes implements [Answers].
func (s Stored) Changes(ctx context.Context, q *Question, after time.Time) iter.Seq2[inventory.ChangeLine, error] {
	withData := q.Query
	withData.Data = true
	return changeLines(s.Store.Changes(ctx, withData, after))
}

func changeLines(changes iter.Seq2[inventory.Change, error]) iter.Seq2[inventory.ChangeLine, error] {
	return func(yield func(inventory.ChangeLine, error) bool) {
		for c, err := range changes {
			var line inventory.ChangeLine
			if err == nil {
				line, err = inventory.NewChangeLine(c)
			}
			if !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// Runs implements [Answers].
func (s Stored) Runs(ctx context.Context, q *Question, ids ...string) iter.Seq2[inventory.Run, error] {
	return func(yield func(inventory.Run, error) bool) {
		runs, err := q.Runs(ctx, s.Store)
		if err != nil {
			yield(inventory.Run{}, err)
			return
		}
		runs.IDs = ids
		for r, err := range s.Store.Runs(ctx, runs) {
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// NotIndexed implements [Answers].
func (s Stored) NotIndexed(ctx context.Context, q *Question) (int, error) {
	if q.Search == "" {
		return 0, nil
	}
	return s.Store.NotIndexed(ctx)
}

// Notes implements [Answers].
func (s Stored) Notes(ctx context.Context, q *Question, isEmpty bool) ([]string, error) {
	return q.Notes(ctx, s.Store, isEmpty)
}
