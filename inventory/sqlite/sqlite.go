// Package sqlite stores the inventory in one SQLite file.
//
// One process writes and holds the lock file; any number of processes read at the same time (WAL). The writer uses one
// connection, for one transaction at a time, and no transaction is open while AWS is called: rows are staged in short
// transactions, and one more at the end of a target publishes them. Epochs are kept in memory, because a dead process
// can no longer write. Begin at [Open].
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"modernc.org/sqlite"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// Options configure a store.
type Options struct {
	Path string
	Log  *slog.Logger  // nil: no log
	Keep time.Duration // how long ended versions are kept; 0: for ever
	// KeepRuns is how long runs are kept. 0: for ever.
	KeepRuns time.Duration
	Sync     bool // wait for the disk at every commit, so that a power cut loses nothing (PRAGMA synchronous=FULL)
	// LockTimeout is how long a write waits for a lock of another process. 0: 3 s.
	LockTimeout time.Duration
	// Now is the clock of the instants. nil: time.Now.
	Now func() time.Time
}

// A Store is the one writer of a database.
type Store struct {
	*Reader
	options Options
	writeDB *sql.DB // one connection
	lock    *os.File

	openedFiles files       // the files as they were when they were opened
	hasWAL      bool        // there was a log after opening: not every file system allows one
	walLost     atomic.Bool // the log is gone
	enc         *zstd.Encoder
	stopBuild   context.CancelFunc
	build       sync.WaitGroup // of the search index

	buffers    chan []byte   // for packs whose compressed size is not known yet
	writeToken chan struct{} // a mutex whose wait ends with a context
	txStart    atomic.Int64  // when the current transaction began, in ns since 1970; 0: none
	recovered  bool          // recoverState succeeded; guarded by the token
	batch      *sql.Tx       // of Batch, which all writes use; guarded by the token

	findScope, findCommitted, findLive            *sql.Stmt // of the reader
	addScope, putOutcome, putProcess, putEndedRun *sql.Stmt // of writeDB
	publishStaged                                 [len(publishStaged)]*sql.Stmt

	mu          sync.Mutex
	lastInstant int64            // the latest instant given to a commit
	lastUpdate  int64            // number of the latest scope update
	lastPack    int64            // highest number of a pack
	epochs      map[int64]*epoch // by scope
}

// An epoch is the current update of a scope.
type epoch struct {
	update int64
	staged bool
}

var _ inventory.Driver = (*Store)(nil)

//go:embed migrations
var migrations embed.FS

// applicationID marks the file as a collector database: "coll" (PRAGMA application_id).
const applicationID = 0x636f6c6c

// ErrInUse is returned if another process writes the database.
var ErrInUse = errors.New("is in use")

// ErrNewer is returned if a newer version of the program made the database.
var ErrNewer = errors.New("a newer version of the program made this database")

// ErrCorrupt is returned if the file is damaged or is not a database.
var ErrCorrupt = errors.New("the database is damaged")

// Open opens the database for writing, creates or migrates it, and drops the staged rows of a killed process. A damaged
// file, or an empty one that had a history, is logged and moved aside, and a new database begins.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = defaultLockTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	lock, err := lockFile(o.Path + ".lock")
	if err != nil {
		return nil, err
	}
	knownID, lost := o.knownHistory(), false
	if knownID != "" {
		if lost, err = o.historyLost(); err != nil {
			return nil, errors.Join(fmt.Errorf("store: %w", err), lock.Close())
		}
	}
	s, err := open(ctx, o)
	if errors.Is(err, ErrCorrupt) {
		lost = true
		aside, errMove := o.moveAside("damaged")
		if errMove != nil {
			return nil, errors.Join(fmt.Errorf("store: %w", errMove), err, lock.Close())
		}
		o.Log.Error("store database damaged; new history begins", "error", err, "moved_to", aside,
			"hint", fmt.Sprintf("Run \"sqlite3 %s .recover\" to recover the old history.", aside))
		s, err = open(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", o.Path, err), lock.Close())
	}
	s.lock = lock
	if err = s.recordHistory(ctx, knownID, lost); err == nil {
		s.openedFiles, err = o.statFiles()
		_, missing := os.Stat(o.Path + "-wal")
		s.hasWAL = missing == nil
	}
	if err == nil {
		err = s.startBuild(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", o.Path, err), s.Close())
	}
	return s, nil
}

// startBuild builds the rest of the search index in the background.
func (s *Store) startBuild(ctx context.Context) error {
	n, err := s.NotIndexed(ctx)
	if err != nil || n == 0 {
		return err
	}
	ctx, s.stopBuild = context.WithCancel(context.WithoutCancel(ctx))
	s.build.Go(func() { inventory.BuildSearchIndex(ctx, s.options.Log, s.indexStep) })
	return nil
}

// encoders is the number of packs that are compressed at once.
const encoders = 2

func open(ctx context.Context, o Options) (_ *Store, err error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(encoders), zstd.WithEncoderCRC(false),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(256<<10))
	if err != nil {
		return nil, err
	}
	s := &Store{
		options:    o,
		enc:        enc,
		buffers:    make(chan []byte, encoders),
		writeToken: make(chan struct{}, 1),
		epochs:     map[int64]*epoch{},
	}
	for _, suffix := range []string{"-wal", "-shm", "-journal"} { // SQLite follows links
		if err := statefile.CheckRegular(o.Path + suffix); err != nil {
			return nil, err
		}
	}
	// SQLite would make it readable for everyone; its other files get the same mode
	f, err := statefile.Open(o.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	synchronous := "NORMAL"
	if o.Sync {
		synchronous = "FULL"
	}
	s.writeDB, err = connect(o.Path, "rwc", "page_size(8192)", "synchronous("+synchronous+")", "cache_size(-8000)",
		"wal_autocheckpoint(8000)", "journal_size_limit(67108864)")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(explain(err), s.writeDB.Close())
		}
	}()
	s.writeDB.SetMaxOpenConns(1)
	if _, err = retryBusy(ctx, s, func() (struct{}, error) { return struct{}{}, s.migrate(ctx) }); err != nil {
		return nil, err
	}
	var locked *inventory.Stall // then the first write recovers
	if err = s.recoverState(ctx); errors.As(err, &locked) {
		o.Log.Error("store locked by another process", "error", err, "hint", record.HintOf(err))
	} else if err != nil {
		return nil, err
	}
	if s.Reader, err = newReader(o.Path, "ro"); err != nil {
		return nil, err
	}
	if err = s.prepare(ctx); err != nil {
		err = errors.Join(err, s.Reader.Close())
	}
	return s, err
}

// prepare prepares what runs for each target and run: SQLite takes longer to parse these statements than to run them.
func (s *Store) prepare(ctx context.Context) (err error) {
	for _, p := range []struct {
		db    *sql.DB
		stmt  **sql.Stmt
		query string
	}{
		{s.db, &s.findScope, findScope},
		{s.db, &s.findCommitted, findCommitted},
		{s.db, &s.findLive, findLive},
		{s.writeDB, &s.addScope, addScope},
		{s.writeDB, &s.putOutcome, putOutcome},
		{s.writeDB, &s.putProcess, putProcess},
		{s.writeDB, &s.putEndedRun, putEndedRun},
	} {
		if *p.stmt, err = p.db.PrepareContext(ctx, p.query); err != nil {
			return err
		}
	}
	for i, query := range publishStaged {
		if s.publishStaged[i], err = s.writeDB.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

// connect returns a pool of connections to the file.
func connect(path, mode string, pragmas ...string) (*sql.DB, error) {
	c, err := newConnector(path, mode, pragmas...)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

func newConnector(path, mode string, pragmas ...string) (*connector, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	q := url.Values{"mode": {mode}, "_busy_timeout": {"10000"}}
	readOnly := mode == "ro" || mode == closedMode
	if mode == closedMode {
		q.Set("mode", "ro")
		q.Set("immutable", "1")
	}
	if !readOnly {
		q.Set("_txlock", "immediate")
		q.Set("_busy_timeout", strconv.Itoa(int(busyStep.Milliseconds()))) // a write waits in steps: see [Store.beginTx]
	}
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	if !strings.HasPrefix(u.Path, "/") { // a drive letter
		u.Path = "/" + u.Path
	}
	d := new(sqlite.Driver)
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(maxBody))
	if err != nil {
		return nil, err
	}
	if err := d.RegisterDeterministicScalarFunction("unzstd", 2, unzstd(dec)); err != nil {
		return nil, err
	}
	if err := d.RegisterScalarFunction("ago", 1, ago); err != nil {
		return nil, err
	}
	return &connector{driver: d, dsn: u.String(), readOnly: readOnly}, nil
}

// maxBody is more than the data of any resource: it bounds the memory that a forged body can take.
const maxBody = 64 << 20

func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	id, version, err := readMarks(ctx, s.writeDB)
	if err != nil {
		return err
	}
	if err := checkFormat(ctx, s.writeDB, id, version, len(files)); err != nil {
		return err
	}
	if id == 0 && version == 0 {
		if err := checkUnused(ctx, s.writeDB); err != nil {
			return err
		}
	}
	// permanent, so only after the file is known to be ours
	if _, err := s.writeDB.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
		return err
	}
	for ; version < len(files); version++ {
		script, err := migrations.ReadFile(files[version])
		if err != nil {
			return err
		}
		if err := s.transact(ctx, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, string(script)); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "PRAGMA application_id = "+strconv.Itoa(applicationID)); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "PRAGMA user_version = "+strconv.Itoa(version+1))
			return err
		}); err != nil {
			return fmt.Errorf("migration %d: %w", version+1, err)
		}
	}
	return checkReadable(ctx, s.writeDB)
}

// checkReadable finds a damaged schema or a torn page now, not at the end of the first target.
func checkReadable(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, "SELECT count(*) FROM (SELECT 1 FROM version, scope, body LIMIT 1)")
	return err
}

// foreignError is the error of another program's file.
func foreignError(err error) error {
	return &record.Fault{Reason: record.Other, Hint: "Set another data_dir.", Err: err}
}

// checkUnused returns an error if a file without a mark contains tables. Most programs do not mark their files; ours
// has its mark since the transaction that creates the tables.
func checkUnused(ctx context.Context, db *sql.DB) error {
	var table string
	err := db.QueryRowContext(
		ctx, "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name LIMIT 1",
	).Scan(&table)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return foreignError(fmt.Errorf("the database belongs to another program: it has a table %q", table))
}

// readMarks returns what marks a file as ours, and the version of its schema.
func readMarks(ctx context.Context, db *sql.DB) (id, version int, err error) {
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return 0, 0, err
	}
	err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	return id, version, err
}

// checkFormat checks the marks of a file. A file without marks may be empty, and can then be used. A file of a newer
// program can be used if that program says so.
func checkFormat(ctx context.Context, db *sql.DB, id, version, latest int) error {
	switch {
	case id == 0 && version == 0:
		return nil
	case id != applicationID:
		return foreignError(errors.New("the database belongs to another program"))
	case version > latest:
		var minimum int
		if err := db.QueryRowContext(ctx, "SELECT min_compatible_version FROM history").Scan(&minimum); err != nil {
			return err
		}
		if minimum <= latest {
			return nil
		}
		return &record.Fault{
			Reason: record.Other, Hint: "Run the version of collector that made it, or set another data_dir.",
			Err: fmt.Errorf("%w: schema version %d, this program supports up to %d", ErrNewer, version, latest),
		}
	}
	return nil
}

// recoverState drops the staged rows of a dead process, and reads the counters.
func (s *Store) recoverState(ctx context.Context) error {
	err := s.transact(ctx, func(tx *sql.Tx) error {
		if err := execAll(
			ctx, tx, "DELETE FROM body WHERE pack IN (SELECT version >> 6 FROM staged)",
			"DELETE FROM staged", restartBuild,
		); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT
			max(coalesce((SELECT max(valid_from) FROM version), 0), coalesce((SELECT max(valid_to) FROM version), 0),
				coalesce((SELECT max(ended) FROM scope), 0)),
			coalesce((SELECT max(pack) FROM body), 0)`).Scan(&s.lastInstant, &s.lastPack)
	})
	if err != nil {
		return err
	}
	if ahead := time.Until(time.UnixMicro(s.lastInstant)); ahead > time.Minute {
		s.options.Log.Warn("store's latest entry is in the future", "latest", time.UnixMicro(s.lastInstant).UTC(),
			"ahead", ahead.Round(time.Second),
			"hint", "Check this machine's clock. Later entries get instants after the latest one.")
	}
	s.recovered = true
	return nil
}

func execAll(ctx context.Context, tx *sql.Tx, statements ...string) error {
	for _, q := range statements {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// lockWriter waits for the right to write. unlockWriter returns it.
func (s *Store) lockWriter(ctx context.Context) error {
	select {
	case s.writeToken <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Store) unlockWriter() { <-s.writeToken }

// write runs f in a short transaction, or in that of Batch.
func (s *Store) write(ctx context.Context, f func(*sql.Tx) error) error {
	if err := s.lockWriter(ctx); err != nil {
		return err
	}
	defer s.unlockWriter()
	if s.batch != nil {
		return explain(f(s.batch))
	}
	if err := s.ensureRecovered(ctx); err != nil {
		return err
	}
	return s.transact(ctx, f)
}

func (s *Store) ensureRecovered(ctx context.Context) error {
	if s.recovered {
		return nil
	}
	return s.recoverState(ctx)
}

// Batch runs f, and commits what is written meanwhile in one transaction: many small ones cost much more. Nobody can
// read the writes before the commit, f neither, so f may store one listing of each target, from its begin to its end.
// If f fails, nothing is written.
func (s *Store) Batch(ctx context.Context, f func() error) error {
	tx, err := s.beginBatch(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	err = f()
	s.writeToken <- struct{}{} // wait for the last write
	defer s.unlockWriter()
	s.batch = nil
	if err != nil {
		return err
	}
	return explain(tx.Commit())
}

func (s *Store) beginBatch(ctx context.Context) (*sql.Tx, error) {
	if err := s.lockWriter(ctx); err != nil {
		return nil, err
	}
	defer s.unlockWriter()
	if err := s.ensureRecovered(ctx); err != nil {
		return nil, err
	}
	tx, err := s.beginTx(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.checkWAL(); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	s.batch = tx
	return tx, nil
}

// transact runs f in a transaction. The caller has the right to write.
func (s *Store) transact(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.beginTx(ctx)
	if err != nil {
		return err
	}
	s.txStart.Store(time.Now().UnixNano())
	defer s.txStart.Store(0)
	defer func() { _ = tx.Rollback() }() // also if f panics: there is only one connection. After a commit it does nothing
	if err := s.checkWAL(); err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return explain(err)
	}
	return explain(tx.Commit())
}

// instant returns the current time, later than every instant before. It must be called inside write.
func (s *Store) instant() int64 {
	s.lastInstant = max(s.options.Now().UnixMicro(), s.lastInstant+1)
	return s.lastInstant
}

// Close ends the writer. Open updates can no longer commit.
func (s *Store) Close() error {
	if s.stopBuild != nil {
		s.stopBuild()
		s.build.Wait()
	}
	s.writeToken <- struct{}{} // wait for the last transaction
	defer s.unlockWriter()
	err := errors.Join(s.Reader.Close(), s.writeDB.Close(), s.enc.Close())
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
		s.lock = nil
	}
	return err
}
