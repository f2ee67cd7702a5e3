package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// Backup writes a copy of the database at path to a new file, as it is at one moment, also while a collector writes.
// The copy has no free pages, and only its owner can read it. When Backup returns, the copy is on the disk; before that
// the file has another name.
func Backup(ctx context.Context, path, file string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nothingStored(err)
	}
	if _, err := readHistory(ctx, path); err != nil {
		return fmt.Errorf("store %s: %w", path, err)
	}
	if _, err := os.Lstat(file); err == nil {
		return existsError(file)
	}
	temp, err := copyDatabase(ctx, path, filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("copy %s: %w", path, err)
	}
	defer os.Remove(temp)
	// A link replaces no file that appeared meanwhile. Not every file system has links.
	err = os.Link(temp, file)
	if errors.Is(err, fs.ErrExist) {
		return existsError(file)
	}
	if err != nil {
		err = os.Rename(temp, file)
	}
	if err == nil {
		err = statefile.SyncDir(filepath.Dir(file))
	}
	return err
}

func existsError(file string) error {
	return &record.Fault{Reason: record.Other, Hint: "Name a new file, or remove this one first.",
		Err: fmt.Errorf("%s exists already", file)}
}

// copyDatabase copies the database at path to a new file in a directory, and returns its name.
func copyDatabase(ctx context.Context, path, dir string) (temp string, err error) {
	f, err := os.CreateTemp(dir, ".collector-copy-*") // for its owner alone; SQLite fills an empty file
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	c, err := newConnector(path, "ro")
	if err != nil {
		return "", err
	}
	c.readOnly = false // of this file it is, but the statement attaches the other one
	db := sql.OpenDB(c)
	defer db.Close()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", f.Name()); err != nil {
		return "", explain(err)
	}
	return f.Name(), f.Sync() // SQLite does not wait for the disk here
}

// Restored is what Restore did.
type Restored struct {
	Previous string // where the database that was in place is now; "": there was none
	// OtherHistory reports that the copy has another history than the database that was in place.
	OtherHistory bool
}

// Restore puts a copy of the database in a file at path, which no process may have open for writing. The database that
// was there is moved aside. The copy was made by this version of the program or an older one, whose schema the next
// [Open] migrates.
func Restore(ctx context.Context, file, path string) (_ Restored, err error) {
	var out Restored
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if info, err := os.Stat(file); err != nil {
		return out, err
	} else if here, err := os.Stat(path); err == nil && os.SameFile(info, here) {
		return out, fmt.Errorf("%s is the database itself", file)
	}
	id, err := readHistory(ctx, file)
	if err != nil {
		return out, fmt.Errorf("%s: %w", file, err)
	}
	temp, err := copyDatabase(ctx, file, filepath.Dir(path))
	if err != nil {
		return out, fmt.Errorf("copy %s: %w", file, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp))
		}
	}()
	if err := checkSound(ctx, temp); err != nil {
		return out, fmt.Errorf("%s: %w", file, err)
	}
	o := Options{Path: path, Log: slog.New(slog.DiscardHandler)}
	known := o.knownHistory()
	out.OtherHistory = known != "" && known != id
	if _, err := os.Lstat(path); err == nil {
		if out.Previous, err = o.moveAside("replaced"); err != nil {
			return out, err
		}
	}
	if err := os.Rename(temp, path); err != nil {
		return out, err
	}
	if id == "" { // the next start gives it an id
		return out, errors.Join(os.RemoveAll(idFile(path)), statefile.SyncDir(filepath.Dir(path)))
	}
	if err := statefile.Write(idFile(path), []byte(id+"\n")); err != nil { // it syncs the directory
		return out, fmt.Errorf("write the id of the history: %w", err)
	}
	return out, nil
}

// readHistory checks that a file is a database that this program can open or migrate. It returns the id of its history,
// or "" if it is older than the ids.
func readHistory(ctx context.Context, file string) (id string, err error) {
	db, err := connect(file, "ro")
	if err != nil {
		return "", err
	}
	defer db.Close()
	defer func() { err = explain(err) }()
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return "", err
	}
	mark, version, err := readMarks(ctx, db)
	if err == nil {
		err = checkFormat(ctx, db, mark, version, len(files))
	}
	if err != nil {
		return "", err
	}
	if mark != applicationID {
		return "", errors.New("this is not a database of collector")
	}
	var hasID bool
	if err := db.QueryRowContext(
		ctx, "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'history')",
	).Scan(&hasID); err != nil || !hasID {
		return "", err
	}
	err = db.QueryRowContext(ctx, "SELECT id FROM history").Scan(&id)
	return id, err
}

// checkSound looks for damage that a copy may have.
func checkSound(ctx context.Context, file string) error {
	db, err := connect(file, "ro")
	if err != nil {
		return err
	}
	defer db.Close()
	var result string
	if err := db.QueryRowContext(
		ctx, "SELECT integrity_check FROM pragma_integrity_check LIMIT 1",
	).Scan(&result); err != nil {
		return explain(err)
	}
	if result != "ok" {
		return fmt.Errorf("%w: %s", ErrCorrupt, result)
	}
	return nil
}
