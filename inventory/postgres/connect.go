package postgres

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// Limits of connections, besides those that hold the lock and ping. Commits at the same time share the server's flushes
// to the disk; a reader keeps its connection until its caller has read everything.
const (
	writers = 8
	readers = 8
)

// A connector opens connections to one schema of one database.
type connector struct {
	conf   *pgx.ConnConfig // without settings: see connConfig
	schema string
	pooler poolerCheck
}

var (
	schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	settingKey = regexp.MustCompile(`^[a-z_][a-z0-9_.]*$`)
)

// dsnError is the error of an invalid connection string. It quotes nothing of the string, because any part may be the
// password.
func dsnError(what string) error {
	return &record.Fault{
		Reason: record.Other,
		Hint: "Write postgres://user:password@host:5432/database?sslmode=verify-full. " +
			"In a password, write @ as %40, : as %3A, / as %2F, # as %23, ? as %3F, and % as %25.",
		Err: fmt.Errorf("store.dsn %s", what),
	}
}

func newConnector(dsn, schema string) (*connector, error) {
	if schema == "" {
		schema = DefaultSchema
	}
	if !schemaName.MatchString(schema) || strings.HasPrefix(schema, "pg_") {
		return nil, &record.Fault{
			Reason: record.Other,
			Hint:   "Use only lower-case letters, digits and _.",
			Err:    fmt.Errorf("store.schema: %q is not a valid schema name", schema),
		}
	}
	if u, err := url.Parse(dsn); err == nil && u.Scheme != "" && (u.Fragment != "" || strings.Contains(u.Path, "@")) {
		return nil, dsnError("is not a connection string: part of it may be a password that is not escaped")
	}
	conf, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, dsnError("is not a valid connection string")
	}
	if strings.ContainsAny(conf.Database+conf.Host, "@?#") {
		return nil, dsnError("is not a connection string: part of it may be a password that is not escaped")
	}
	for key := range conf.RuntimeParams {
		if !settingKey.MatchString(key) {
			return nil, dsnError("is not a connection string: part of it may be a password that is not escaped")
		}
	}
	if conf.RuntimeParams["application_name"] == "" {
		conf.RuntimeParams["application_name"] = fmt.Sprintf("collector (process %d)", os.Getpid())
	}
	if conf.ConnectTimeout == 0 {
		conf.ConnectTimeout = inventory.StallTimeout
	}
	// A cancelled read is cancelled at the server too, and the connection stays usable. If the server does not answer, the
	// connection is closed.
	conf.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: time.Second}
	}
	return &connector{conf: conf, schema: schema}, nil
}

// pool returns a pool of at most n connections with additional settings. It does not connect. t may be nil.
func (c *connector) pool(
	ctx context.Context, n int32, t *statements, settings map[string]string,
) (*pgxpool.Pool, error) {
	p, err := pgxpool.ParseConfig("") // the only way to get a pool configuration
	if err != nil {
		return nil, dsnError("cannot be used with this environment's PG variables")
	}
	p.ConnConfig = c.connConfig(settings)
	if t != nil {
		p.ConnConfig.Tracer = t
	}
	p.MaxConns = n
	p.MaxConnIdleTime = 5 * time.Minute
	p.PingTimeout = inventory.StallTimeout
	// The context is only used for background connections, which this pool does not have.
	return pgxpool.NewWithConfig(context.WithoutCancel(ctx), p)
}

// connConfig is for connections with the search path and more settings. They are statements: a pooler refuses settings
// in a start-up message, or drops them.
func (c *connector) connConfig(settings map[string]string) *pgx.ConnConfig {
	statements := []string{"SET search_path = " + pgx.Identifier{c.schema}.Sanitize()}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		statements = append(statements, "SET "+name+" = '"+settings[name]+"'")
	}
	set := strings.Join(statements, "; ")
	conf := c.conf.Copy()
	conf.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := c.checkPooler(ctx, conn); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, set).ReadAll()
		return err
	}
	return conf
}

// lockKey returns the key of the writer's lock among the database's advisory locks.
func (c *connector) lockKey() (class, object int32) {
	return 0x636f6c6c, int32(crc32.ChecksumIEEE([]byte(c.schema)) & 0x7fffffff) // "coll"
}

// isTransient reports whether the server cannot be reached or does not serve at the moment, or a migration is awaited.
func isTransient(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "57P01", "57P02", "57P03", // shut down, crashed, starting
			"53300", "53400", // too many connections
			"55P03": // another session holds a lock
			return true
		}
		return strings.HasPrefix(pg.Code, "08")
	}
	var unreached *unreachable
	return errors.As(err, &unreached) || errors.Is(err, errWaiting)
}

// unreachable is an error below the protocol.
type unreachable struct{ err error }

func (u *unreachable) Error() string { return u.err.Error() }
func (u *unreachable) Unwrap() error { return u.err }

// explain turns an error of pgx into one that contains no secret and has a hint.
func (c *connector) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil { // err only says that something was cancelled or closed
		return context.Cause(ctx)
	}
	var fault *record.Fault
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &fault) && errors.As(err, &connect):
		return fault // pgx adds only the address
	case fault != nil:
		return err
	}
	prefix := ""
	if errors.As(err, &connect) {
		prefix = c.address() + ": "
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		f := c.fault(record.Other, hintOf(pg), prefix+pg.Severity+": "+pg.Message+" (SQLSTATE "+pg.Code+")", err)
		switch {
		case pg.Code == "55P03":
			return &inventory.Stall{Err: f, ReadsWork: true}
		case pg.Code == "57P03": // starting or shutting down
			return &inventory.Stall{Err: f}
		}
		return f
	}
	if connect == nil && !isConnectionError(err) {
		return c.fault(record.Other, "", err.Error(), err)
	}
	if rootCause(err) == "server refused TLS connection" {
		hint := "Enable TLS on the server. Or set sslmode=prefer in store.dsn, or sslmode=disable on a trusted network."
		return c.fault(record.Other, hint, c.address()+": the server has no TLS", err)
	}
	if isCertificateError(err) {
		hint := "Set sslrootcert= in store.dsn to the authority's certificate."
		return c.fault(record.Other, hint, c.address()+": "+rootCause(err), err)
	}
	if pgconn.Timeout(err) || errors.Is(err, os.ErrDeadlineExceeded) {
		err = c.noAnswerError(err)
	} else {
		err = c.fault(record.Network, "Check that the server runs and can be reached; writes resume when it answers.",
			c.address()+": "+rootCause(err), &unreachable{err})
	}
	if connect != nil { // a lost connection affects one call; no new connection affects all
		return &inventory.Stall{Err: err}
	}
	return err
}

// noAnswerError is the error of a server that accepts connections but does not answer.
func (c *connector) noAnswerError(err error) error {
	text := fmt.Sprintf(
		"no answer from Postgres at %s, port %d, database %s", c.conf.Host, c.conf.Port, c.conf.Database,
	)
	hint := "Check the server: it is stopped, overloaded, or cut off by the network. Writes resume when it answers."
	return c.fault(record.Network, hint, text, &unreachable{err})
}

func (c *connector) fault(r record.Reason, hint, text string, err error) error {
	return &record.Fault{Reason: r, Hint: hint, Text: c.redact(text), Err: err}
}

// address describes the server, without secrets.
func (c *connector) address() string {
	return fmt.Sprintf(
		"connect to %s, port %d, database %s, as %s", c.conf.Host, c.conf.Port, c.conf.Database, c.conf.User,
	)
}

// redact removes the password from text of other programs.
func (c *connector) redact(s string) string {
	if len(c.conf.Password) >= 4 {
		s = strings.ReplaceAll(s, c.conf.Password, "[redacted]")
	}
	return s
}
