package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
)

// searchLimits decide how a text is searched; what is found does not depend on them.
type searchLimits struct {
	// maxEntries limits the entries of the index that a search reads. A scope beyond them may have the text.
	maxEntries int
	// fewEntries is how many packs are read at once to get a list of versions, which is then sorted. A text that more of
	// them may have is searched in the order of keys, until there are enough resources.
	fewEntries int
}

var defaultSearchLimits = searchLimits{maxEntries: 1 << 17, fewEntries: 512}

const (
	// searchBatch is the number of resources that are read at once.
	searchBatch = 256
	// maxKnownPacks limits the packs of which a search remembers what it found.
	maxKnownPacks = 1 << 14
)

// A matcher knows which versions have a text.
type matcher struct {
	s       *snapshot
	text    string
	textsOf *sql.Stmt
	entries []int64          // of the packs that may have it, in order
	end     int64            // entries from here on are not known
	lines   map[int64]uint64 // by pack, of some that were read
}

// newMatcher asks the index which packs may have a text.
func (s *snapshot) newMatcher(ctx context.Context, text string) (*matcher, error) {
	stmt, err := s.tx.PrepareContext(ctx, "SELECT texts FROM search_text WHERE pack = ?")
	if err != nil {
		return nil, err
	}
	m := &matcher{s: s, text: text, textsOf: stmt, lines: map[int64]uint64{}}
	expression, err := s.matchExpression(ctx, text)
	if expression == "" || err != nil {
		return m, err
	}
	m.end = math.MaxInt64
	most := s.r.searchLimits.maxEntries
	rows, err := s.tx.QueryContext(
		ctx, "SELECT rowid FROM search WHERE search MATCH ? ORDER BY rowid LIMIT ?", expression, most+1,
	)
	if err != nil {
		return nil, errors.Join(err, stmt.Close())
	}
	defer rows.Close()
	for rows.Next() {
		var entry int64
		if err := rows.Scan(&entry); err != nil {
			return nil, errors.Join(err, stmt.Close())
		}
		if len(m.entries) == most {
			m.end = entry
			break
		}
		m.entries = append(m.entries, entry)
	}
	return m, rows.Err()
}

// knowsAll reports whether only packs with an entry may have the text.
func (m *matcher) knowsAll() bool { return m.end == math.MaxInt64 }

func (m *matcher) close() { _ = m.textsOf.Close() } // it ends with the transaction anyway

// entriesOf returns the entries of a scope's packs that may have the text. all means that any pack may.
func (m *matcher) entriesOf(scope int64) (entries []int64, all bool) {
	if entryOf(scope+1, 0) > m.end {
		return nil, true
	}
	from, _ := slices.BinarySearch(m.entries, entryOf(scope, 0))
	n, _ := slices.BinarySearch(m.entries[from:], entryOf(scope+1, 0))
	return m.entries[from : from+n], false
}

// linesOf returns the lines of a pack with the text, as a set of bits.
func (m *matcher) linesOf(ctx context.Context, pack int64) (uint64, error) {
	if lines, ok := m.lines[pack]; ok {
		return lines, nil
	}
	rows, err := m.textsOf.QueryContext(ctx, pack)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var lines uint64
	if rows.Next() { // else it is not indexed yet
		var packed sql.RawBytes
		if err := rows.Scan(&packed); err != nil {
			return 0, err
		}
		texts, err := m.s.r.dec.DecodeAll(packed, nil)
		if err != nil {
			return 0, fmt.Errorf("%w: texts of pack %d: %w", ErrCorrupt, pack, err)
		}
		lines = matchingLines(texts, m.text)
	}
	if len(m.lines) >= maxKnownPacks {
		clear(m.lines)
	}
	m.lines[pack] = lines
	return lines, rows.Err()
}

// has reports whether a version of a scope has the text.
func (m *matcher) has(ctx context.Context, scope, version int64) (bool, error) {
	pack := version >> lineBits
	if entries, all := m.entriesOf(scope); !all {
		if _, ok := slices.BinarySearch(entries, entryOf(scope, pack)); !ok {
			return false, nil
		}
	}
	lines, err := m.linesOf(ctx, pack)
	return lines>>(version&lineMask)&1 != 0, err
}

// mayHave reports whether a version of a scope may have the text.
func (m *matcher) mayHave(ctx context.Context, scope int64) (bool, error) {
	entries, all := m.entriesOf(scope)
	for _, entry := range entries {
		lines, err := m.linesOf(ctx, entry&(1<<scopeShift-1))
		if err != nil || lines != 0 {
			return true, err
		}
	}
	return all, nil
}

// search finds the resources with a text, their own or that of their account's name or id, in the order of keys.
func (s *snapshot) search(ctx context.Context, q inventory.Query, yield func(*inventory.Resource) bool) error {
	m, err := s.newMatcher(ctx, searchedText(q))
	if err != nil {
		return err
	}
	defer m.close()
	names, ids, err := s.accountsWith(ctx, m.text)
	if err != nil {
		return err
	}
	if m.knowsAll() && len(m.entries) <= s.r.searchLimits.fewEntries && len(names)+len(ids) == 0 {
		return s.searchFew(ctx, q, m, yield)
	}
	w := &searchWalk{s: s, m: m, q: q, names: names, ids: ids, left: q.Limit, yield: yield}
	if q.Limit == 0 {
		w.left = math.MaxInt
	}
	return w.walk(ctx)
}

// accountsWith returns the names and the ids of accounts that contain a text.
func (s *snapshot) accountsWith(ctx context.Context, text string) (names, ids []string, err error) {
	if names, err = s.accountColumn(ctx, "account", text); err == nil {
		ids, err = s.accountColumn(ctx, "account_id", text)
	}
	return names, ids, err
}

// accountColumn returns the values of a column of scopes that contain a text. It jumps from one to the next in an
// index: an account may have thousands of scopes.
func (s *snapshot) accountColumn(ctx context.Context, column, text string) (values []string, err error) {
	rows, err := s.tx.QueryContext(ctx, strings.ReplaceAll(`WITH RECURSIVE a (value) AS (
			SELECT min(COLUMN) FROM scope
			UNION ALL SELECT (SELECT min(COLUMN) FROM scope WHERE COLUMN > a.value) FROM a WHERE a.value IS NOT NULL)
		SELECT value FROM a WHERE value IS NOT NULL`, "COLUMN", column))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			return nil, err
		}
		if strings.Contains(fold(value), text) {
			values = append(values, value)
		}
	}
	return values, rows.Err()
}

// searchFew finds resources by a list of all versions that have the text.
func (s *snapshot) searchFew(
	ctx context.Context, q inventory.Query, m *matcher, yield func(*inventory.Resource) bool,
) error {
	versions := []int64{}
	for _, entry := range m.entries {
		pack := entry & (1<<scopeShift - 1)
		lines, err := m.linesOf(ctx, pack)
		if err != nil {
			return err
		}
		for line := int64(0); lines != 0; line, lines = line+1, lines>>1 {
			if lines&1 != 0 {
				versions = append(versions, pack<<lineBits|line)
			}
		}
	}
	return s.find(ctx, q, versions, yield)
}

// A searchWalk reads scopes in the order of keys.
type searchWalk struct {
	s     *snapshot
	m     *matcher
	q     inventory.Query
	names []string // of accounts with the text
	ids   []string
	left  int // resources to find
	batch []int64
	yield func(*inventory.Resource) bool
}

func (w *searchWalk) walk(ctx context.Context) error {
	scopes, err := w.s.scopes(ctx, w.q, w.onlyPossible)
	if err != nil {
		return err
	}
	defer scopes.close()
	scopes.keep = func(p *placedScope) (bool, error) {
		p.whole = slices.Contains(w.names, p.place.account) || slices.Contains(w.ids, p.accountID)
		if p.whole {
			return true, nil
		}
		return w.m.mayHave(ctx, p.id)
	}
	for w.left > 0 {
		group, err := scopes.next(1)
		if err != nil {
			return err
		}
		if len(group) == 0 {
			return w.flush(ctx)
		}
		if err := w.search(ctx, group); err != nil {
			return err
		}
		w.q.After = nil
	}
	return nil
}

// maxListedScopes limits the scopes that are listed in a statement.
const maxListedScopes = 8192

// onlyPossible adds that a scope may have the text. It leaves that to the caller if there are many: their list would
// take longer than to read them.
func (w *searchWalk) onlyPossible(b *sqlquery.Builder) {
	scopes := []int64{}
	for _, entry := range w.m.entries {
		if n := entry >> scopeShift; len(scopes) == 0 || scopes[len(scopes)-1] != n {
			scopes = append(scopes, n)
		}
	}
	if !w.m.knowsAll() || len(scopes) > maxListedScopes {
		return
	}
	b.Add("(s.scope IN " + list(b, scopes) + " OR s.account IN " + list(b, w.names) +
		" OR s.account_id IN " + list(b, w.ids) + ")")
}

// list is a list of any number of values as a parameter.
func list[T int64 | string](b *sqlquery.Builder, values []T) string {
	text, _ := json.Marshal(values) // numbers and texts cannot fail
	return "(SELECT value FROM json_each(" + b.Param(string(text)) + "))"
}

// search finds the resources of scopes with the same place.
func (w *searchWalk) search(ctx context.Context, group []placedScope) error {
	whole := map[int64]bool{}
	for _, scope := range group {
		whole[scope.id] = scope.whole
	}
	b := sqlquery.New(dialect)
	in := scopeIn(b, group)
	from := versionsAt(b, w.q, in)
	b.Add("v." + in)
	b.Versions(w.q)
	b.After(w.q.After, "v")
	order := "v.id" // that of the index, so nothing is sorted
	if len(group) > 1 {
		order = sqlquery.KeyOrder("v")
	}
	rows, err := w.s.tx.QueryContext(ctx, "SELECT v.version, v.scope FROM "+from+
		" JOIN scope s ON s.scope = v.scope"+b.Where()+" ORDER BY "+order, b.Params()...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for w.left > 0 && rows.Next() {
		var version, scope int64
		if err := rows.Scan(&version, &scope); err != nil {
			return err
		}
		has := whole[scope]
		if !has {
			if has, err = w.m.has(ctx, scope, version); err != nil {
				return err
			}
		}
		if !has {
			continue
		}
		if w.batch = append(w.batch, version); len(w.batch) < min(searchBatch, w.left) {
			continue
		}
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	return rows.Err()
}

// flush yields the resources whose versions wait.
func (w *searchWalk) flush(ctx context.Context) error {
	if len(w.batch) == 0 || w.left == 0 {
		return nil
	}
	q := inventory.Query{Where: w.q.Where, Data: w.q.Data, At: w.q.At}
	err := w.s.find(ctx, q, w.batch, func(r *inventory.Resource) bool {
		if w.left--; !w.yield(r) {
			w.left = 0
		}
		return w.left > 0
	})
	w.batch = w.batch[:0]
	return err
}

// versionsAt is the table of the versions that are valid at the instant of a query. It adds a condition.
func versionsAt(b *sqlquery.Builder, q inventory.Query, condition string) string {
	if q.At.IsZero() {
		b.Add("v.valid_to IS NULL")
		return "version v"
	}
	at := b.Param(q.At.UnixMicro()) // two branches, each with an index of its own
	return "(SELECT * FROM version WHERE " + condition + " AND valid_to IS NULL AND valid_from <= " + at +
		" UNION ALL SELECT * FROM version WHERE " + condition + " AND valid_to > " + at + " AND valid_from <= " + at + ") v"
}

// find yields the versions that satisfy q, but for its text, in the order of keys. versions are numbers to choose from;
// nil: all.
func (s *snapshot) find(
	ctx context.Context, q inventory.Query, versions []int64, yield func(*inventory.Resource) bool,
) error {
	b := sqlquery.New(dialect)
	condition := "true"
	if versions != nil {
		condition = "version IN " + list(b, versions)
	}
	from := versionsAt(b, q, condition)
	if versions != nil {
		b.Add("v." + condition)
	}
	b.Versions(q)
	b.After(q.After, "v")
	where, limit := b.Where(), b.Limit(q)
	return s.selectVersions(ctx, q, yield, "SELECT "+versionColumns+" FROM "+from+
		" JOIN scope s ON s.scope = v.scope"+where+" ORDER BY "+sqlquery.KeyOrder("v")+limit, b.Params()...)
}
