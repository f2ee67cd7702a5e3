package api

import (
	"bufio"
	"encoding/csv"
	"net/http"
	"strconv"
	"time"

	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/query"
)

// flushInterval is how long a row waits for others, at most.
const flushInterval = time.Second

// A stream writes an answer of any length, row by row. It holds one buffer. A client that reads too slowly is
// disconnected by package web, which sets the deadlines of writes: then the next row is an error.
type stream struct {
	r       *request
	w       http.ResponseWriter
	control *http.ResponseController
	buffer  *bufio.Writer
	cells   *csv.Writer
	columns []query.Column
	begun   bool
	rows    int
	flushed time.Time
	unknown *unknown
	source  query.Source // of notes
}

func (a *API) newStream(w http.ResponseWriter, r *request, columns []query.Column, u *unknown) *stream {
	s := &stream{
		r: r, w: w, control: http.NewResponseController(w), buffer: bufio.NewWriterSize(w, 32<<10),
		columns: columns, unknown: u, source: a.source,
	}
	s.cells = csv.NewWriter(s.buffer)
	return s
}

// begin sends the header before the first row, so that an error until then is a problem. CSV has no place for more than
// rows, so its header says what is unknown.
func (s *stream) begin() error {
	if s.begun {
		return nil
	}
	s.begun, s.flushed = true, time.Now()
	h := s.w.Header()
	h.Set("Content-Type", s.r.media)
	if s.r.media != typeCSV {
		return nil
	}
	h.Set("Content-Type", typeCSV+"; charset=utf-8; header=present")
	h.Set("Collector-As-Of", s.r.question.Now.Format(time.RFC3339Nano))
	h.Set("Collector-Unknown", strconv.Itoa(s.unknown.Count))
	var names []string
	for _, c := range s.columns {
		names = append(names, printable.SpreadsheetCell(c.Name))
	}
	return s.cells.Write(names)
}

// row writes a row of JSON.
func (s *stream) row(v any) error {
	if err := s.begin(); err != nil {
		return err
	}
	s.rows++
	if _, err := s.buffer.Write(query.JSONLine(v)); err != nil {
		return err
	}
	return s.flushSometimes()
}

// csvRow writes a row of CSV. It is for spreadsheets, which run a cell that looks like a formula, also one of a tag.
func (s *stream) csvRow(row map[string]any) error {
	if err := s.begin(); err != nil {
		return err
	}
	s.rows++
	line := make([]string, len(s.columns))
	for i, c := range s.columns {
		line[i] = printable.SpreadsheetCell(query.CellText(row[c.Name]))
	}
	if err := s.cells.Write(line); err != nil {
		return err
	}
	return s.flushSometimes()
}

func (s *stream) flushSometimes() error {
	if time.Since(s.flushed) < flushInterval {
		return nil
	}
	return s.flush()
}

func (s *stream) flush() error {
	s.cells.Flush()
	if err := s.buffer.Flush(); err != nil {
		return err
	}
	s.flushed = time.Now()
	return s.control.Flush()
}

// streamEnd is the last line of NDJSON: without it the answer is cut.
type streamEnd struct {
	End endOfStream `json:"_end"`
}

type endOfStream struct {
	AsOf    time.Time `json:"as_of"`
	Count   int       `json:"count"`
	Unknown *unknown  `json:"unknown"`
	Notes   []string  `json:"notes,omitempty"` // with details: why there are no rows, or which may be missing
	Error   *problem  `json:"error,omitempty"` // why rows are missing
}

// end ends the answer. An error before the first row is returned; later, the last line of NDJSON has it, and CSV breaks
// off, so that a client does not take the rows for all there are. At the end of the program an answer ends like that,
// too.
func (s *stream) end(err error) error {
	if err != nil && !s.begun {
		return err
	}
	if errBegin := s.begin(); errBegin != nil {
		return nil //nolint:nilerr // the client has gone
	}
	if s.r.media == typeCSV {
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_ = s.flush() // an error means that the client has gone
		return nil
	}
	last := endOfStream{AsOf: s.r.question.Now, Count: s.rows, Unknown: s.unknown}
	if err == nil && s.r.question.Details {
		last.Notes, err = s.r.question.Notes(s.r.Context(), s.source, s.rows == 0)
	}
	if err != nil {
		p := storeProblem(err).complete()
		if s.r.Context().Err() != nil {
			p = errInterrupted().complete()
		}
		last.Error = &p
	}
	_, _ = s.buffer.Write(query.JSONLine(streamEnd{last}))
	_ = s.flush() // an error means that the client has gone
	return nil
}
