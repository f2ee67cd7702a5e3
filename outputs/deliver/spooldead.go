package deliver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/outputs"
)

const (
	maxLoggedDeadLetters = 10       // in a row; later ones are only counted
	maxDeadLetterBytes   = 32 << 20 // of a file; one older file is kept
)

// deadLetters is a JSON lines file of records that a receiver will never take, each with the error. A person or a
// script can fix the records and send them again.
type deadLetters struct {
	path   string
	output string
}

// A deadLetter is a line of the file.
type deadLetter struct {
	Time   time.Time       `json:"time"`
	Output string          `json:"output"`
	Error  string          `json:"error"`
	ID     string          `json:"id"`               // StableID
	Record json.RawMessage `json:"record,omitempty"` // the line
	Text   string          `json:"text,omitempty"`   // the line, if it is not valid JSON
}

// write appends a line. When it returns, the line is on disk.
func (d *deadLetters) write(line []byte, cause error) (err error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	l := deadLetter{Time: time.Now().UTC(), Output: d.output, Error: cause.Error(), Record: line}
	if parsed, err := outputs.ParseLine(line); err == nil {
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
		return errors.Join(err, f.Truncate(st.Size())) // removes a half-written line
	}
	return f.Sync()
}

// kindAndID returns the kind and the id in a line, or "" if it cannot be read.
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
