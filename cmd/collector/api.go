package main

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/web"
	"github.com/aws-collector/collector/web/act"
	"github.com/aws-collector/collector/web/api"
	"github.com/aws-collector/collector/web/mcp"
)

// newAPI returns the API over HTTP: its questions and its acts.
func (p *program) newAPI(acts *act.Acts, guard *web.Guard) *api.API {
	o := api.Options{
		Board: p.board, Kinds: account.Catalogue(), Log: p.log, Status: p.status(time.Now().UTC()),
		Accounts:  func() query.Accounts { return *p.configured.Load() },
		Relations: sync.OnceValue(relations), Acts: acts, Actor: guard.Actor,
	}
	if p.store.Driver != nil {
		o.Store = p.store.Driver
	}
	return api.New(o)
}

// newMCP returns the handler of the Model Context Protocol; nil if the configuration does not want it.
func newMCP(wanted bool, questions *api.API) (http.Handler, error) {
	if !wanted {
		return nil, nil
	}
	return mcp.New(mcp.Options{API: questions, Kinds: account.Catalogue(), Version: buildInfo().version})
}

// relations returns the members that hold ids, of all kinds.
func relations() []api.Relation {
	all, err := collectors.Relations()
	if err != nil {
		panic(err) // of the catalogue, which a test compiles
	}
	out := make([]api.Relation, len(all))
	for i, r := range all {
		to, _ := collectors.KindNamed(r.To)
		out[i] = api.Relation{Kind: r.Kind, Path: r.Path, To: r.To, Named: to.NamedBy == to.ID}
	}
	return out
}

// queryAccounts is what questions need of a configuration in force.
func queryAccounts(built *runner.Configuration, set *accounts.Set) *query.Accounts {
	tags := make(map[string]map[string]string, len(set.Accounts))
	for i := range set.Accounts {
		if a := set.Accounts[i]; len(a.ExtraTags) > 0 {
			tags[a.Name] = a.ExtraTags
		}
	}
	return &query.Accounts{Configuration: built, Members: set.Identities, Unlisted: set.Unlisted, Tags: tags}
}

// notReady returns why the program is not ready.
func (p *program) notReady() []string {
	return slices.Concat(
		notReadyReasons(p.outputs.States()), p.store.NotReadyReasons(), p.dataDir.NotReadyReasons(),
	)
}

// status returns a function that says how the program is.
func (p *program) status(started time.Time) func() api.Status {
	return func() api.Status {
		s := api.Status{
			Version: buildInfo().version, Started: started, NotReady: p.notReady(), Engine: api.EngineStatus{Type: "local"},
			Store: api.StoreStatus{Type: p.storeType},
		}
		if p.store.Inventory != nil {
			h := p.store.Inventory.Health()
			s.Store.Since, s.Store.NotStored = query.NullIfZero(h.Since), h.NotStored
			if h.Err != nil {
				s.Store.Error, s.Store.Hint = h.Err.Error(), record.HintOf(h.Err)
			}
		}
		for _, o := range p.outputs.States() {
			s.Outputs = append(s.Outputs, outputStatus(o))
		}
		return s
	}
}

func outputStatus(o deliver.State) api.OutputStatus {
	s := api.OutputStatus{
		Name: o.Name, Type: o.Type, Up: o.Up, Ready: o.Ready, Error: o.Error, Hint: o.Hint,
		Since: query.NullIfZero(o.Since), Records: o.Records, Lost: o.Lost, Errors: o.Errors,
	}
	if o.Spool != nil {
		s.Spool = &api.SpoolStatus{
			Records: o.Spool.Records, Bytes: o.Spool.Bytes, Oldest: query.NullIfZero(o.Spool.Oldest), Full: o.Spool.Full,
			Dropped: o.Spool.Dropped, DeadLetters: o.Spool.DeadLetters, Retries: o.Spool.Retries,
		}
	}
	return s
}

// notReadyReasons names the outputs that lose records or delay collection. An output whose receiver is away is ready
// while its spool has space.
func notReadyReasons(states []deliver.State) []string {
	var reasons []string
	for _, s := range states {
		if !s.Ready {
			reasons = append(reasons, fmt.Sprintf("output %s: %s", s.Name, s.Error))
		}
	}
	return reasons
}
