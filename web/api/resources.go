package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

// columnsOfCSV are the columns of CSV without fields.
func columnsOfCSV() []query.Column {
	columns, err := query.ParseColumns(query.AllFields())
	if err != nil {
		panic(err) // of constant names
	}
	return columns
}

// resources serves a page of resources, or all of them as a stream.
func (a *API) resources(w http.ResponseWriter, r *request) error {
	if a.o.Store == nil {
		return errNothingStored()
	}
	q := &r.question.Query
	columns := r.question.Fields
	q.Data = len(columns) == 0 || query.NeedData(columns)
	var err error
	if q.After, err = r.resourceKey(); err != nil {
		return err
	}
	unknown, err := a.unknown(r.Context(), &r.question)
	if err != nil {
		return err
	}
	if r.media != typeJSON {
		return a.streamResources(w, r, unknown)
	}
	q.Limit = r.question.Limit + 1
	var rows []any
	var last []inventory.Key
	for res, err := range a.o.Store.Find(r.Context(), *q) {
		if err != nil {
			return err
		}
		row, err := rowOf(res, columns)
		if err != nil {
			return err
		}
		rows, last = append(rows, row), append(last, inventory.KeyOf(res))
	}
	s := newSet(r, rows, func(any) cursor {
		k := last[r.question.Limit-1]
		return cursor{Key: []string{k.Kind, k.Account, k.Region, k.ID, k.AccountID, k.Partition}}
	})
	s.Unknown = unknown
	if len(s.Items) == 0 {
		if s.Notes, err = r.question.Notes(r.Context(), a.source, true); err != nil {
			return err
		}
	}
	return writeJSON(w, s)
}

// rowOf is a resource, or the fields of it that the question asks for.
func rowOf(res *inventory.Resource, columns []query.Column) (any, error) {
	if len(columns) == 0 {
		return query.NewResourceLine(res), nil
	}
	return query.Row(res, columns)
}

func (a *API) streamResources(w http.ResponseWriter, r *request, u *unknown) error {
	q, columns := r.question.Query, r.question.Fields
	q.Limit = 0
	if r.values.Get(query.Limit.Name) != "" {
		q.Limit = r.question.Limit
	}
	if r.media == typeCSV && len(columns) == 0 {
		columns = columnsOfCSV()
	}
	s := a.newStream(w, r, columns, u)
	if r.Method == http.MethodHead {
		return s.begin()
	}
	for res, err := range a.o.Store.Find(r.Context(), q) {
		if err != nil {
			return s.end(err)
		}
		row, err := rowOf(res, columns)
		switch {
		case err != nil:
		case r.media == typeCSV:
			err = s.csvRow(row.(map[string]any)) //nolint:forcetypeassert // it has columns
		default:
			err = s.row(row)
		}
		if err != nil {
			return s.end(err)
		}
	}
	return s.end(nil)
}

// one sets the question to one resource of the path.
func (a *API) one(r *request) error {
	if a.o.Store == nil {
		return errNothingStored()
	}
	kind, err := a.o.Kinds.Pattern(r.PathValue("kind"))
	if err != nil {
		return problem{Status: http.StatusNotFound, Detail: err.Error(), Hint: "See " + Prefix + "kinds for all kinds."}
	}
	r.question.Kinds, r.question.ID, r.question.Data = []string{kind}, r.PathValue("id"), true
	return nil
}

// resource serves one resource.
func (a *API) resource(w http.ResponseWriter, r *request) error {
	if err := a.one(r); err != nil {
		return err
	}
	res, err := a.findOne(r)
	if err != nil {
		return err
	}
	return writeJSON(w, query.NewResourceLine(res))
}

// findOne returns the resource that the question is about. Several accounts and regions can have an id: then the error
// names them.
func (a *API) findOne(r *request) (*inventory.Resource, error) {
	var found []*inventory.Resource
	for res, err := range a.o.Store.Find(r.Context(), r.question.Query) {
		if err != nil {
			return nil, err
		}
		if found = append(found, res); len(found) == maxPage {
			break
		}
	}
	switch len(found) {
	case 0:
		return nil, a.notFound(r)
	case 1:
		return found[0], nil
	}
	p := problem{Status: http.StatusConflict, Detail: fmt.Sprintf("%d resources have this id", len(found)),
		Hint: "Set account and region to one of choices."}
	for _, res := range found {
		p.Choices = append(p.Choices, choice{res.Account, res.AccountID, res.Region})
	}
	return nil, p
}

// notFound says when the resource ended, if it ever existed, and what is not known.
func (a *API) notFound(r *request) error {
	id, at := r.question.ID, r.question.At
	p := problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("no resource has the id %.200q", id)}
	last, err := a.lastVersion(r.Context(), r.question.Query)
	switch {
	case err != nil:
		return err
	case last == nil:
	case !at.IsZero():
		p.Detail = fmt.Sprintf("no resource had the id %.200q at %s", id, at.Format(time.RFC3339))
	default:
		p.Detail = fmt.Sprintf("%.200q is gone since %s: %s", id, last.ValidTo.Format(time.RFC3339), last.Ended)
	}
	if last != nil {
		p.Hint = "See the route with /history for its versions."
	}
	if p.Unknown, err = a.unknown(r.Context(), &r.question); err != nil {
		return err
	}
	return p
}

func (a *API) lastVersion(ctx context.Context, q inventory.Query) (last *inventory.Resource, err error) {
	q.Data, q.At = false, time.Time{}
	for v, err := range a.o.Store.History(ctx, q) {
		if err != nil {
			return nil, err
		}
		last = v
	}
	return last, nil
}

// history serves the versions of a resource with what changed. A page begins after the version of the cursor.
func (a *API) history(w http.ResponseWriter, r *request) error {
	if err := a.one(r); err != nil {
		return err
	}
	var lines []query.VersionLine
	var keys [][]string
	var previous *inventory.Resource
	skip, err := r.key(4)
	if err != nil {
		return err
	}
	for v, err := range a.o.Store.History(r.Context(), r.question.Query) {
		if err != nil {
			return err
		}
		line, _, err := query.NewVersionLine(previous, v)
		if err != nil {
			return err
		}
		previous = v
		key := []string{v.AccountID, v.Partition, v.Region, v.ValidFrom.Format(time.RFC3339Nano)}
		if skip != nil {
			if slices.Equal(key, skip) {
				skip = nil
			}
			continue
		}
		lines, keys = append(lines, line), append(keys, key)
		if len(lines) > r.question.Limit {
			break
		}
	}
	switch {
	case previous == nil:
		return a.notFound(r)
	case skip != nil:
		return problem{Status: http.StatusBadRequest, Detail: "the version of the cursor is no longer stored",
			Hint: "Leave out the cursor to begin with the oldest version."}
	}
	return writeJSON(w, newSet(r, lines, func(query.VersionLine) cursor { return cursor{Key: keys[r.question.Limit-1]} }))
}
