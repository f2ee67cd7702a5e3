package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
	"modernc.org/sqlite"

	"github.com/aws-collector/collector/inventory"
)

// A connector opens connections of its own driver, so that the functions registered on it do not affect other users of
// SQLite.
type connector struct {
	driver   *sqlite.Driver
	dsn      string
	readOnly bool // connections may read the file of the DSN and nothing else
}

func (c *connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.dsn)
	if err != nil || !c.readOnly {
		return conn, err
	}
	// A connection opened read-only can still attach another file for writing.
	r, ok := conn.(sqlite.AuthorizerRegisterer)
	if !ok {
		return nil, errors.Join(errors.New("sqlite: no authorizer"), conn.Close())
	}
	if err := r.RegisterAuthorizer(authorizeRead); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (c *connector) Driver() driver.Driver { return c.driver }

// unzstd is the SQL function that decodes a pack and returns one line of it, a body. NULL stays NULL.
func unzstd(dec *zstd.Decoder) func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
	last := &unzstdCache{dec: dec}
	return func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		n, ok := args[1].(int64)
		switch b := args[0].(type) {
		case nil:
			return nil, nil
		case []byte:
			if ok && n >= 0 && n <= lineMask {
				return last.line(b, n)
			}
		}
		return nil, errors.New("unzstd: want a blob and a line number")
	}
}

// ago is the SQL function that returns the instant so long ago, in the format of the views: ago('7d').
func ago(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
	age, _ := args[0].(string)
	at, err := inventory.ParseTime(age, time.Now())
	if err != nil {
		return nil, fmt.Errorf("ago: %q %w", age, err)
	}
	return at.Format("2006-01-02T15:04:05.000Z"), nil
}

// authorizeRead allows a connection to read the database that it was opened with, and nothing else.
func authorizeRead(action sqlite.AuthorizerActionCode, _, value, _, _ string) sqlite.AuthorizerReturnCode {
	switch action {
	case sqlite.AuthSelect, sqlite.AuthRead, sqlite.AuthFunction, sqlite.AuthRecursive, sqlite.AuthTransaction:
		return sqlite.AuthorizerOK
	case sqlite.AuthPragma:
		if value == "" { // reads a pragma
			return sqlite.AuthorizerOK
		}
	}
	return sqlite.AuthorizerDeny
}
