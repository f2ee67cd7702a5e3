package query

import (
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner/board"
)

// A BoardSource answers from the status board what the store would. It knows only the last run of each account.
type BoardSource struct{ Board *board.Board }

// Targets implements [Source].
func (s BoardSource) Targets(context.Context) iter.Seq2[inventory.Coverage, error] {
	return func(yield func(inventory.Coverage, error) bool) {
		var info board.AccountInfo
		for t := range s.Board.Targets() {
			if t.Account != info.Name {
				info, _ = s.Board.Account(t.Account)
				info.Name = t.Account
			}
			c := inventory.Coverage{
				Outcome: t.Outcome, LastSeen: t.LastSuccess, Resources: t.Resources,
				AccountID: info.Identity.AccountID, Partition: info.Identity.Partition,
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Runs implements [Source].
func (s BoardSource) Runs(_ context.Context, q inventory.RunQuery) iter.Seq2[inventory.Run, error] {
	return func(yield func(inventory.Run, error) bool) {
		var runs []inventory.Run
		for info := range s.Board.Accounts() {
			for _, r := range append(slices.Clone(info.Running), info.Last) {
				run := RunOf(info.Name, r)
				switch {
				case r.Run == "", len(q.Statuses) > 0 && !slices.Contains(q.Statuses, run.Status),
					len(q.IDs) > 0 && !slices.Contains(q.IDs, run.ID), run.Started.Before(q.Since),
					q.Before != "" && run.ID >= q.Before,
					!MatchesAccount(q.Accounts, info.Name, info.Identity.AccountID):
				default:
					runs = append(runs, run)
				}
			}
		}
		slices.SortFunc(runs, func(a, b inventory.Run) int { return strings.Compare(b.ID, a.ID) })
		for i, run := range runs {
			if q.Limit > 0 && i == q.Limit || !yield(run, nil) {
				return
			}
		}
	}
}

// LastRuns implements [Source]. The board does not keep the causes of a run.
func (BoardSource) LastRuns(context.Context, []string) iter.Seq2[inventory.Run, error] {
	return func(func(inventory.Run, error) bool) {}
}

// SignIns implements [Source].
func (s BoardSource) SignIns(context.Context) iter.Seq2[inventory.SignIn, error] {
	return func(yield func(inventory.SignIn, error) bool) {
		for info := range s.Board.Accounts() {
			in := inventory.SignIn{
				Account: info.Name, AccountID: info.Identity.AccountID, Partition: info.Identity.Partition,
				ARN: info.Identity.ARN, Expires: info.Expires,
			}
			if in.AccountID != "" && !yield(in, nil) {
				return
			}
		}
	}
}

// RunOf returns a run of the board as the store would have it.
func RunOf(account string, r board.RunInfo) inventory.Run {
	run := inventory.Run{
		ID: r.Run, Account: account, Tick: r.Tick, Started: r.Started, Status: r.Status, Ticks: 1,
		Targets: map[record.State]int{}, Failed: r.Failed, Records: r.Records, Calls: r.Calls, Throttles: r.Throttles,
	}
	if r.Status == "" {
		run.Status = record.RunRunning
	} else {
		run.Ended = r.Started.Add(r.Took)
	}
	return run
}
