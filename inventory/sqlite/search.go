package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
)

// A packSearch is what a search needs of a pack.
type packSearch struct {
	texts []byte // of the rows, in their order; folded, with textEnd between them, and compressed
	terms string // their different lines, for the index
}

// textEnd separates the texts of a pack. No folded text contains it.
const textEnd = 0

func newPackSearch(texts []string, encode func([]byte) []byte) packSearch {
	var all []byte
	var terms strings.Builder
	seen := map[string]bool{}
	for i, text := range texts {
		if i > 0 {
			all = append(all, textEnd)
		}
		text = fold(text)
		all = append(all, text...)
		for line := range strings.SplitSeq(text, "\n") {
			if !seen[line] {
				seen[line] = true
				terms.WriteString(line)
				terms.WriteByte('\n')
			}
		}
	}
	return packSearch{texts: encode(all), terms: terms.String()}
}

func (p packSearch) size() int { return len(p.texts) + len(p.terms) }

// fold makes texts equal that differ in case only. Control characters become ends of lines: no search finds them.
func fold(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case r < utf8.RuneSelf && !unicode.IsControl(r):
			return r
		case unicode.IsControl(r):
			return '\n'
		}
		least := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		return unicode.ToLower(least) // of two ASCII letters, such as K for the sign of Kelvin, the lower one
	}, text)
}

// matchingLines returns the lines of a pack whose texts contain a text, as a set of bits.
func matchingLines(texts []byte, text string) (lines uint64) {
	wanted := []byte(text)
	for bit := uint64(1); bit != 0; bit <<= 1 {
		line, rest, more := bytes.Cut(texts, []byte{textEnd})
		if bytes.Contains(line, wanted) {
			lines |= bit
		}
		if !more {
			break
		}
		texts = rest
	}
	return lines
}

// entryOf is the number of a pack's entry in the index.
func entryOf(scope, pack int64) int64 { return scope<<scopeShift | pack }

// An entry's number begins with its scope, so the entries of a scope are neighbours.
const scopeShift = 32

// A packIndexer adds packs to the search index in a transaction.
type packIndexer struct {
	tx                    *sql.Tx
	textsStmt, searchStmt *sql.Stmt
}

func (x *packIndexer) add(ctx context.Context, scope, pack int64, p packSearch) (err error) {
	if x.textsStmt == nil {
		if x.textsStmt, err = x.tx.PrepareContext(
			ctx, "INSERT OR REPLACE INTO search_text (pack, scope, texts) VALUES (?, ?, ?)",
		); err != nil {
			return err
		}
		if x.searchStmt, err = x.tx.PrepareContext(
			ctx, "INSERT OR REPLACE INTO search (rowid, text) VALUES (?, ?)",
		); err != nil {
			return err
		}
	}
	if _, err := x.textsStmt.ExecContext(ctx, pack, scope, p.texts); err != nil {
		return err
	}
	_, err = x.searchStmt.ExecContext(ctx, entryOf(scope, pack), p.terms)
	return err
}

func (x *packIndexer) close() {
	for _, s := range []*sql.Stmt{x.textsStmt, x.searchStmt} {
		if s != nil {
			_ = s.Close() // it ends with the transaction anyway
		}
	}
}

// restartBuild builds the index again if a program that does not know it has written versions.
const restartBuild = `UPDATE search_build SET below = (SELECT max(version) + 1 FROM version)
	WHERE below <= (SELECT max(version) FROM version)
		AND NOT EXISTS (SELECT 1 FROM search_text WHERE pack = (SELECT max(version) FROM version) >> 6)`

// NotIndexed returns the number of versions that a search does not find yet.
func (r *Reader) NotIndexed(ctx context.Context) (n int, err error) {
	err = r.db.QueryRowContext(
		ctx, "SELECT count(*) FROM version WHERE version < (SELECT below FROM search_build)",
	).Scan(&n)
	return n, explain(err)
}

// indexedPerStep is the number of versions that one transaction indexes, and the rest of a pack: others wait for it.
const indexedPerStep = 500

// indexStep indexes some versions, and returns their number.
func (s *Store) indexStep(ctx context.Context) (n int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		packs, lowest, err := s.packsToIndex(ctx, tx)
		if err != nil {
			return err
		}
		index := packIndexer{tx: tx}
		defer index.close()
		n = 0
		for pack, p := range packs {
			n += p.versions
			if err := index.add(ctx, p.scope, pack, newPackSearch(p.texts, s.encodePack)); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "UPDATE search_build SET below = ?", lowest)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("index versions for search: %w", err)
	}
	return n, nil
}

// A packTexts holds the texts of a pack that is not indexed, by line. A line without a version has none.
type packTexts struct {
	scope    int64
	versions int
	texts    []string
}

// packsToIndex returns the next packs that are not indexed, by number, and the lowest version in them.
func (s *Store) packsToIndex(ctx context.Context, tx *sql.Tx) (packs map[int64]*packTexts, lowest int64, err error) {
	body, err := tx.PrepareContext(ctx, "SELECT data FROM body WHERE pack = ?")
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	v := snapshot{r: s.Reader, tx: tx, bodyStmt: body}
	rows, err := tx.QueryContext(ctx, `SELECT version, scope, id, name, tags FROM version
		WHERE version < (SELECT below FROM search_build) AND version >= (
			SELECT min(version) >> 6 << 6 FROM (SELECT version FROM version
				WHERE version < (SELECT below FROM search_build) ORDER BY version DESC LIMIT ?))
		ORDER BY version DESC`, indexedPerStep)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	packs = map[int64]*packTexts{}
	for rows.Next() {
		var r inventory.Resource
		var scope int64
		var tags sql.RawBytes
		if err := rows.Scan(&lowest, &scope, &r.ID, &r.Name, &tags); err != nil {
			return nil, 0, err
		}
		if err := v.loadBody(ctx, &r, lowest); err != nil {
			s.options.Log.Warn("resource indexed without its addresses", "id", r.ID, "error", err,
				"hint", `Run "collector db check" to see what is damaged.`)
		}
		line := int(lowest & lineMask)
		p := packs[lowest>>lineBits]
		if p == nil {
			p = &packTexts{scope: scope, texts: make([]string, line+1)} // the highest line comes first
			packs[lowest>>lineBits] = p
		}
		p.texts[line] = inventory.SearchText(r.ID, r.Name, tags, r.Data)
		p.versions++
	}
	return packs, lowest, rows.Err()
}

const trigram = 3 // characters

// maxTrigrams limits the condition of a long text: fewer trigrams only find more packs, whose texts are read.
const maxTrigrams = 32

// maxShortTrigrams limits the trigrams that a text of one or two characters is looked up by.
const maxShortTrigrams = 64

// matchExpression finds the packs that may have a text: those with all its trigrams, or, if it is too short to have
// one, with a trigram that begins with it. "" means that any pack may have it.
func (s *snapshot) matchExpression(ctx context.Context, text string) (string, error) {
	runes := []rune(text)
	if len(runes) < trigram {
		return s.shortExpression(ctx, text)
	}
	var terms []string
	seen := map[string]bool{}
	for i := 0; i+trigram <= len(runes) && len(terms) < maxTrigrams; i++ {
		term := string(runes[i : i+trigram])
		if !seen[term] {
			seen[term] = true
			terms = append(terms, quoteTerm(term))
		}
	}
	return strings.Join(terms, " AND "), nil
}

func (s *snapshot) shortExpression(ctx context.Context, text string) (string, error) {
	rows, err := s.tx.QueryContext(
		ctx, "SELECT term FROM search_trigram WHERE term >= ? AND term < ? LIMIT ?",
		text, text+string(unicode.MaxRune), maxShortTrigrams+1,
	)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	terms := []string{quoteTerm(string([]rune(text + "\n\n")[:trigram]))} // so that there is one
	for rows.Next() {
		var term string
		if err := rows.Scan(&term); err != nil {
			return "", err
		}
		if terms = append(terms, quoteTerm(term)); len(terms) > maxShortTrigrams {
			return "", nil
		}
	}
	return strings.Join(terms, " OR "), rows.Err()
}

// quoteTerm quotes a term, so that nothing in it is an operator.
func quoteTerm(term string) string { return `"` + strings.ReplaceAll(term, `"`, `""`) + `"` }

// searchedText is the text of a query as texts contain it.
func searchedText(q inventory.Query) string { return fold(sqlquery.SearchedText(q)) }
