package outputs

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/outputs/internal/journal"
	"github.com/aws-collector/collector/record"
)

// losses is what a spool will never hand on, by target and run: dropped when it was full, or refused by the receiver. The
// line that ends such a target was written before, and says that all is there; on its way out it is told otherwise, so that
// nobody takes for gone what was only lost. It is kept in a file, as the spool is.
type losses struct {
	path string

	mu      sync.Mutex
	enabled bool // the output asked for ends of targets
	counts  map[journal.Source]int
}

// maxLossSources bounds what ends that never come leave behind, as after a kill in mid-run.
const maxLossSources = 10_000

// An absence is a line of the file.
type lossEntry struct {
	journal.Source
	Records int
}

// loadLosses reads the file. One that cannot be used is moved aside, which is logged, and is none.
func loadLosses(path string, log *slog.Logger) *losses {
	m := &losses{path: path, counts: map[journal.Source]int{}}
	b, err := statefile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m
	}
	var all []lossEntry
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		aside, moved := statefile.MoveDamaged(path)
		log.Warn("loss counts of the spool are damaged", "path", path, "error", errors.Join(err, moved), "moved", aside,
			"hint", "Targets of which records were dropped or refused before this start may be reported complete.")
		return m
	}
	for _, a := range all {
		m.counts[a.Source] = a.Records
	}
	return m
}

// save writes the file anew; m.mu is held. If it cannot, a restart forgets, which is said where the disk's trouble is.
func (m *losses) save() error {
	if len(m.counts) == 0 {
		if err := os.Remove(m.path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	all := make([]lossEntry, 0, len(m.counts))
	for s, n := range m.counts {
		all = append(all, lossEntry{s, n})
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return statefile.Write(m.path, b)
}

func (m *losses) setEnabled(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enabled = on
}

func (m *losses) add(of map[journal.Source]int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.enabled {
		return nil
	}
	changed := false
	for s, n := range of {
		if _, known := m.counts[s]; n > 0 && s.Run != "" && (known || len(m.counts) < maxLossSources) {
			m.counts[s] += n
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return m.save()
}

// addLine adds the record in a line.
func (m *losses) addLine(line []byte) error {
	l, err := parseLine(bytes.TrimSuffix(line, []byte("\n")))
	if err != nil || l.Target != "" || l.Change != "" {
		return nil // it is of no target's listing, as far as can be read
	}
	return m.add(map[journal.Source]int{{Run: l.Run, Target: record.Target{Account: l.Account, Region: l.Region, Kind: l.Kind}}: 1})
}

var endPrefix = []byte(`{"kind":"_target"`)

// forEachEnd ranges over the lines, and calls do for each that ends a target of which something is missing. m.mu is held.
func (m *losses) forEachEnd(lines []byte, do func(at int, raw []byte, s journal.Source, o record.Outcome)) {
	if len(m.counts) == 0 || !bytes.Contains(lines, endPrefix) {
		return
	}
	at := 0
	for raw := range bytes.Lines(lines) {
		if bytes.HasPrefix(raw, endPrefix) {
			if l, err := parseLine(bytes.TrimSuffix(raw, []byte("\n"))); err == nil {
				t := record.Target{Account: l.Account, Region: l.Region, Kind: l.Target}
				s := journal.Source{Run: l.Run, Target: t}
				if m.counts[s] > 0 {
					do(at, raw, s, record.Outcome{Target: t, Run: l.Run, State: l.State, Records: l.Records})
				}
			}
		}
		at += len(raw)
	}
}

// annotateEnds is the lines with the truth at the ends of targets; they are the lines themselves where nothing is missing.
func (m *losses) annotateEnds(lines []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []byte
	from := 0
	m.forEachEnd(lines, func(at int, raw []byte, s journal.Source, o record.Outcome) {
		line, err := endLine(o, m.counts[s])
		if err != nil {
			return // a struct of strings and a number
		}
		out = append(append(out, lines[from:at]...), line...)
		from = at + len(raw)
	})
	if out == nil {
		return lines
	}
	return append(out, lines[from:]...)
}

// clearEnds forgets the targets whose ends have been handed on.
func (m *losses) clearEnds(lines []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := false
	m.forEachEnd(lines, func(_ int, _ []byte, s journal.Source, _ record.Outcome) {
		delete(m.counts, s)
		changed = true
	})
	if !changed {
		return nil
	}
	return m.save()
}
