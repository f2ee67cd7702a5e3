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

// missing is what a spool will never hand on, by target and run: dropped when it was full, or refused by the receiver. The
// line that ends such a target was written before, and says that all is there; on its way out it is told otherwise, so that
// nobody takes for gone what was only lost. It is kept in a file, as the spool is.
type missing struct {
	path string

	mu sync.Mutex
	on bool // the output asked for ends of targets
	of map[journal.Source]int
}

// maxMissing bounds what ends that never come leave behind, as after a kill in mid-run.
const maxMissing = 10_000

// An absence is a line of the file.
type absence struct {
	journal.Source
	Records int
}

// loadMissing reads the file. One that cannot be used is moved aside, which is logged, and is none.
func loadMissing(path string, log *slog.Logger) *missing {
	m := &missing{path: path, of: map[journal.Source]int{}}
	b, err := statefile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m
	}
	var all []absence
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		aside, moved := statefile.SetAside(path)
		log.Warn("loss counts of the spool are damaged", "path", path, "error", errors.Join(err, moved), "moved", aside,
			"hint", "Targets of which records were dropped or refused before this start may be reported complete.")
		return m
	}
	for _, a := range all {
		m.of[a.Source] = a.Records
	}
	return m
}

// save writes the file anew; m.mu is held. If it cannot, a restart forgets, which is said where the disk's trouble is.
func (m *missing) save() error {
	if len(m.of) == 0 {
		if err := os.Remove(m.path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	all := make([]absence, 0, len(m.of))
	for s, n := range m.of {
		all = append(all, absence{s, n})
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return statefile.Write(m.path, b)
}

func (m *missing) asked(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.on = on
}

func (m *missing) add(of map[journal.Source]int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.on {
		return nil
	}
	changed := false
	for s, n := range of {
		if _, known := m.of[s]; n > 0 && s.Run != "" && (known || len(m.of) < maxMissing) {
			m.of[s] += n
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return m.save()
}

// addLine adds the record in a line.
func (m *missing) addLine(line []byte) error {
	l, err := parseLine(bytes.TrimSuffix(line, []byte("\n")))
	if err != nil || l.Target != "" || l.Change != "" {
		return nil // it is of no target's listing, as far as can be read
	}
	return m.add(map[journal.Source]int{{Run: l.Run, Target: record.Target{Account: l.Account, Region: l.Region, Kind: l.Kind}}: 1})
}

var endPrefix = []byte(`{"kind":"_target"`)

// ends ranges over the lines, and calls do for each that ends a target of which something is missing. m.mu is held.
func (m *missing) ends(lines []byte, do func(at int, raw []byte, s journal.Source, o record.Outcome)) {
	if len(m.of) == 0 || !bytes.Contains(lines, endPrefix) {
		return
	}
	at := 0
	for raw := range bytes.Lines(lines) {
		if bytes.HasPrefix(raw, endPrefix) {
			if l, err := parseLine(bytes.TrimSuffix(raw, []byte("\n"))); err == nil {
				t := record.Target{Account: l.Account, Region: l.Region, Kind: l.Target}
				s := journal.Source{Run: l.Run, Target: t}
				if m.of[s] > 0 {
					do(at, raw, s, record.Outcome{Target: t, Run: l.Run, State: l.State, Records: l.Records})
				}
			}
		}
		at += len(raw)
	}
}

// tell is the lines with the truth at the ends of targets; they are the lines themselves where nothing is missing.
func (m *missing) tell(lines []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []byte
	from := 0
	m.ends(lines, func(at int, raw []byte, s journal.Source, o record.Outcome) {
		line, err := endLine(o, m.of[s])
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

// told forgets the targets whose ends have been handed on.
func (m *missing) told(lines []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := false
	m.ends(lines, func(_ int, _ []byte, s journal.Source, _ record.Outcome) {
		delete(m.of, s)
		changed = true
	})
	if !changed {
		return nil
	}
	return m.save()
}
