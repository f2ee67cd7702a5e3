package outputs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/aws-collector/collector/internal/statefile"
)

const (
	maxLoggedDeadLetters = 10       // of refusals in a row, that many are logged each
	maxDeadLetterBytes   = 32 << 20 // a file of them; one older file is kept
)

// deadLetters is a file of records that a receiver will never take, each with why: JSON lines, for a person or a script
// that mends and sends them again.
type deadLetters struct {
	path   string
	output string
}

// A letter is a line of it.
type deadLetter struct {
	Time   time.Time       `json:"time"`
	Output string          `json:"output"`
	Error  string          `json:"error"`
	ID     string          `json:"id"`               // StableID
	Record json.RawMessage `json:"record,omitempty"` // the line itself
	Text   string          `json:"text,omitempty"`   // the line itself, if it is no JSON
}

// write appends a line, on the disk when it returns.
func (d *deadLetters) write(line []byte, why error) (err error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	l := deadLetter{Time: time.Now().UTC(), Output: d.output, Error: why.Error(), Record: line}
	if parsed, err := parseLine(line); err == nil {
		l.ID = parsed.StableID()
	} else if !json.Valid(line) {
		l.Record, l.Text = nil, string(line)
	}
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if st, err := os.Stat(d.path); err == nil && st.Size() > 0 && st.Size()+int64(len(b)) > maxDeadLetterBytes {
		if err := os.Rename(d.path, d.path+".1"); err != nil {
			return err
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := statefile.Open(d.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Truncate(st.Size())) // no half line
	}
	return f.Sync()
}

// kindAndID is the kind and id in a line, as far as they can be read.
func kindAndID(line []byte) (kind, id string) {
	var l struct {
		Kind, ID string
		Record   struct{ Kind, ID string }
	}
	if json.Unmarshal(line, &l) != nil {
		return "", ""
	}
	if l.Record.ID != "" {
		return l.Record.Kind, l.Record.ID
	}
	return l.Kind, l.ID
}
