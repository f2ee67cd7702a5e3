package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aws-collector/collector/record"
)

//go:embed migrations
var migrations embed.FS

// application marks the tables as those of the collector.
const application = "aws-collector"

// minServerVersion is the oldest supported Postgres: version 13 cannot choose the compression.
const minServerVersion = 140000

// A schemaState is what a schema contains.
type schemaState struct {
	exists  bool
	version int // of our tables; 0: none
}

// migrationFiles returns the names of the migrations, in order.
func migrationFiles() ([]string, error) { return fs.Glob(migrations, "migrations/*.sql") }

// isCurrent reports whether the schema needs no migration.
func (c *connector) isCurrent(ctx context.Context, conn *pgx.Conn) (bool, error) {
	files, err := migrationFiles()
	if err != nil {
		return false, err
	}
	state, err := c.inspect(ctx, conn, len(files))
	return state.version >= len(files), err
}

// migrate creates the schema and updates its tables, each step in a transaction. The caller holds the writer's lock
// alone. A step raises the number of the writers: a commit of before it, whose process lost its lock without noticing,
// does not meet tables that it does not know.
func (c *connector) migrate(ctx context.Context, conn *pgx.Conn) error {
	files, err := migrationFiles()
	if err != nil {
		return err
	}
	state, err := c.inspect(ctx, conn, len(files))
	if err != nil {
		return err
	}
	for n := state.version; n < len(files); n++ {
		script, err := migrations.ReadFile(files[n])
		if err != nil {
			return err
		}
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if n == 0 {
				if err := c.createSchema(ctx, tx, state.exists); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", c.lockTag()<<40); err != nil { // the gate
				return err
			}
			if _, err := tx.Exec(ctx, string(script)); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "UPDATE clock SET writer = writer + 1"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "UPDATE store SET version = $1", n+1)
			return err
		})
		if err != nil {
			return c.explain(ctx, fmt.Errorf("migration %d: %w", n+1, err))
		}
	}
	return nil
}

func (c *connector) createSchema(ctx context.Context, tx pgx.Tx, exists bool) error {
	if !exists {
		if _, err := tx.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{c.schema}.Sanitize()); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, "CREATE TABLE store (application text PRIMARY KEY, version integer NOT NULL)"); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "INSERT INTO store (application, version) VALUES ($1, 0)", application)
	return err
}

// A rowQuerier is a connection, a pool or a transaction.
type rowQuerier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// inspect returns the state of the schema. It returns an error for an unsuitable server, for tables of another program,
// and for tables of a newer version.
func (c *connector) inspect(ctx context.Context, q rowQuerier, latest int) (state schemaState, err error) {
	var server int
	var encoding, release, path, wanted string
	var hasStore bool
	var taken []string
	err = q.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'),
			current_setting('server_encoding'), current_setting('search_path'), quote_ident($1),
			EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
			EXISTS (SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1 AND relname = 'store'),
			ARRAY(SELECT relname::text FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
				WHERE nspname = $1 AND relname = ANY($2) ORDER BY 1)`,
		c.schema, []string{"clock", "epoch", "scope", "version", "body", "staged", "versions", "resources", "targets",
			"process", "run", "cause", "sign_in", "runs", "search", "search_build", "commit_number"},
	).Scan(&server, &release, &encoding, &path, &wanted, &state.exists, &hasStore, &taken)
	switch {
	case err != nil:
		return state, err
	case path != wanted: // never write to tables of another schema
		return state, fmt.Errorf("the connection's search_path is %s, but it was set to %s", path, wanted)
	case server < minServerVersion:
		return state, &record.Fault{
			Reason: record.Other,
			Hint:   "Upgrade the server, or set store: {type: sqlite}, which needs no server.",
			Err:    fmt.Errorf("the server is Postgres %s; 14 or later is needed", release),
		}
	case encoding != "UTF8":
		return state, &record.Fault{
			Reason: record.Other,
			Hint:   `Run "createdb --encoding UTF8 --template template0 NAME" to create a suitable database.`,
			Err:    fmt.Errorf("the database's encoding is %s; UTF8 is needed", encoding),
		}
	case !hasStore && len(taken) > 0:
		return state, c.foreignError(fmt.Errorf("%w: it has a table %s", ErrForeign, taken[0]))
	case !hasStore:
		return state, nil
	}
	var app string
	err = q.QueryRow(ctx, "SELECT application, version FROM store ORDER BY application LIMIT 1").Scan(&app, &state.version)
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == "42703" || errors.Is(err, pgx.ErrNoRows) || err == nil && app != application:
		return state, c.foreignError(fmt.Errorf("%w: it has a table store", ErrForeign))
	case err != nil:
		return state, err
	case state.version > latest:
		var minimum int
		if err := q.QueryRow(ctx, "SELECT min_compatible_version FROM store LIMIT 1").Scan(&minimum); err != nil {
			return state, err
		}
		if minimum <= latest {
			return state, nil
		}
		return state, &record.Fault{
			Reason: record.Other, Hint: "Run the version of collector that made them, or set another store.schema.",
			Err: fmt.Errorf(
				"schema %s: %w: version %d, this program supports up to %d", c.schema, ErrNewer, state.version, latest,
			),
		}
	}
	return state, nil
}

func (c *connector) foreignError(err error) error {
	return &record.Fault{
		Reason: record.Other,
		Hint:   "Set another store.schema, or another database in store.dsn.",
		Err:    fmt.Errorf("schema %s: %w", c.schema, err),
	}
}
