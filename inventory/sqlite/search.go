package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
)

// trigram is the length of the shortest text that the index can find.
const trigram = 3

// indexed reports whether the index finds a text. It does not find the shortest, or none.
func indexed(text string) bool { return utf8.RuneCountInString(text) >= trigram }

// searchCondition uses the index for all texts but the shortest, which most resources contain: those are compared with
// each id, name and tag.
func searchCondition(text string, live bool, param func(any) string) string {
	like := " LIKE " + param(sqlquery.Containing(text)) + ` ESCAPE '\'`
	if !indexed(text) {
		return "(v.id" + like + " OR v.name" + like + " OR s.account" + like + " OR s.account_id" + like +
			" OR EXISTS (SELECT 1 FROM json_each(v.tags) t WHERE t.key" + like + " OR t.value" + like + "))"
	}
	phrase := param(`"` + strings.ReplaceAll(text, `"`, `""`) + `"`) // so that nothing in it is an operator
	ofAccounts := "SELECT version FROM version WHERE scope IN (SELECT scope FROM scope WHERE account" + like +
		" OR account_id" + like + ")"
	if live { // with the index of live versions
		ofAccounts += " AND valid_to IS NULL"
	}
	return "v.version IN (SELECT rowid FROM search WHERE search MATCH " + phrase + " UNION ALL " + ofAccounts + ")"
}

const indexStatement = "INSERT OR REPLACE INTO search (rowid, text) VALUES (?, ?)"

// restartBuild builds the index again if a program that does not know it has written versions.
const restartBuild = `UPDATE search_build SET below = (SELECT max(version) + 1 FROM version)
	WHERE below <= (SELECT max(version) FROM version)
		AND NOT EXISTS (SELECT 1 FROM search WHERE rowid = (SELECT max(version) FROM version))`

// NotIndexed returns the number of versions that a search does not find yet.
func (r *Reader) NotIndexed(ctx context.Context) (n int, err error) {
	err = r.db.QueryRowContext(
		ctx, "SELECT count(*) FROM version WHERE version < (SELECT below FROM search_build)",
	).Scan(&n)
	return n, explain(err)
}

// indexedPerStep is the number of versions that one transaction indexes: others wait for it.
const indexedPerStep = 500

// indexStep indexes some versions, and returns their number.
func (s *Store) indexStep(ctx context.Context) (n int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		texts, lowest, err := s.textsToIndex(ctx, tx)
		if err != nil {
			return err
		}
		for version, text := range texts {
			if _, err := tx.ExecContext(ctx, indexStatement, version, text); err != nil {
				return err
			}
		}
		n = len(texts)
		_, err = tx.ExecContext(ctx, "UPDATE search_build SET below = ?", lowest)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("index versions for search: %w", err)
	}
	return n, nil
}

// textsToIndex returns the texts of the next versions that are not indexed, by version, and the lowest version.
func (s *Store) textsToIndex(ctx context.Context, tx *sql.Tx) (texts map[int64]string, lowest int64, err error) {
	body, err := tx.PrepareContext(ctx, "SELECT data FROM body WHERE pack = ?")
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	v := snapshot{r: s.Reader, tx: tx, bodyStmt: body}
	rows, err := tx.QueryContext(ctx, `SELECT version, id, name, tags FROM version
		WHERE version < (SELECT below FROM search_build) ORDER BY version DESC LIMIT ?`, indexedPerStep)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	texts = map[int64]string{}
	for rows.Next() {
		var r inventory.Resource
		var tags sql.RawBytes
		if err := rows.Scan(&lowest, &r.ID, &r.Name, &tags); err != nil {
			return nil, 0, err
		}
		if err := v.loadBody(ctx, &r, lowest); err != nil {
			s.options.Log.Warn("resource indexed without its addresses", "id", r.ID, "error", err,
				"hint", `Run "collector db check" to see what is damaged.`)
		}
		texts[lowest] = inventory.SearchText(r.ID, r.Name, tags, r.Data)
	}
	return texts, lowest, rows.Err()
}
