package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
)

// searchCondition uses the index of texts if there is one.
func searchCondition(text string, live bool, param func(any) string) string {
	like := " ILIKE " + param(sqlquery.Containing(text))
	ofAccounts := "SELECT version FROM version WHERE scope = ANY(ARRAY(SELECT scope FROM scope WHERE account" + like +
		" OR account_id" + like + "))"
	if live { // with the index of live versions
		ofAccounts += " AND valid_to IS NULL"
	}
	return "v.version IN (SELECT version FROM search WHERE text" + like + " UNION ALL " + ofAccounts + ")"
}

// NotIndexed returns the number of versions that a search does not find yet.
func (r *Reader) NotIndexed(ctx context.Context) (n int, err error) {
	err = r.pool.QueryRow(
		ctx, "SELECT count(*) FROM version WHERE version < (SELECT below FROM search_build)",
	).Scan(&n)
	return n, r.c.explain(ctx, err)
}

// checkIndex finds out whether versions must be indexed: those of an older program, which may have written since this
// one did.
func (s *Store) checkIndex(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, `UPDATE search_build SET below = (SELECT max(version) + 1 FROM version)
		WHERE below <= (SELECT max(version) FROM version)
			AND NOT EXISTS (SELECT FROM search WHERE version = (SELECT max(version) FROM version))`); err != nil {
		return err
	}
	var incomplete bool
	err := conn.QueryRow(
		ctx, "SELECT EXISTS (SELECT FROM version WHERE version < (SELECT below FROM search_build))",
	).Scan(&incomplete)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.indexIncomplete = incomplete
	return err
}

// startBuild builds the rest of the search index in the background, if there is any and nothing builds it.
func (s *Store) startBuild(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.indexIncomplete || s.building {
		return
	}
	s.building = true
	s.background.Go(func() {
		inventory.BuildSearchIndex(ctx, s.log, s.indexStep)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.building = false
	})
}

// indexedPerStep is the number of versions that one transaction indexes.
const indexedPerStep = 500

// indexStep indexes some versions, and returns their number. Processes that share the schema take turns.
func (s *Store) indexStep(ctx context.Context) (n int, err error) {
	err = s.write(ctx, "", func(tx pgx.Tx) error {
		var below int64
		if err := tx.QueryRow(ctx, "SELECT below FROM search_build FOR UPDATE").Scan(&below); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT v.version, v.id, v.name, v.tags::text, coalesce(b.exact, b.data::text, '')
			FROM version v LEFT JOIN body b ON b.version = v.version
			WHERE v.version < $1 ORDER BY v.version DESC LIMIT $2`, below, indexedPerStep)
		if err != nil {
			return err
		}
		defer rows.Close()
		var versions []int64
		var texts []string
		lowest := int64(0)
		for rows.Next() {
			var id, name, tags, data string
			if err := rows.Scan(&lowest, &id, &name, &tags, &data); err != nil {
				return err
			}
			versions = append(versions, lowest)
			texts = append(texts, toText(inventory.SearchText(id, name, []byte(tags), []byte(data))))
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if n = len(versions); n == 0 { // another process has indexed the last
			return nil
		}
		if _, err := tx.Exec(ctx, `INSERT INTO search (version, text) SELECT * FROM unnest($1::bigint[], $2::text[])
			ON CONFLICT (version) DO UPDATE SET text = excluded.text`, versions, texts); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE search_build SET below = $1", lowest)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("index versions for search: %w", err)
	}
	return n, nil
}
