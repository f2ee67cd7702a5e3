package deliver

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/journal"
	"github.com/aws-collector/collector/record"
)

// losses counts the records that a spool will never send, by target and run: it dropped them, or the receiver refused
// them. The line that marks a target's end was written before the loss and says that the target is complete. Before it
// is sent, it is corrected, so that its receiver does not take lost resources for gone. The counts are kept in a file.
//
// Damage does not tell whose records it took. Such losses have the zero source: they make every end partial that is in
// the spool, until the spool is empty.
type losses struct {
	path string

	mu      sync.Mutex
	enabled bool // the output wants ends of targets
	counts  map[journal.Source]int
}

// maxLossSources bounds the counts of targets whose end never comes, for example after a kill in the middle of a run.
const maxLossSources = 10_000

// A lossEntry is an entry of the file.
type lossEntry struct {
	journal.Source
	Records int
}

// loadLosses reads the file. It moves a damaged file aside, logs that, and starts with no losses.
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
		movedTo, moveErr := statefile.MoveDamaged(path)
		log.Warn("loss counts of the spool are damaged",
			"path", path, "error", errors.Join(err, moveErr), "moved_to", movedTo,
			"hint", "Do not rely on complete targets: records dropped or refused before this start are not counted.")
		return m
	}
	for _, a := range all {
		m.counts[a.Source] = a.Records
	}
	return m
}

// save replaces the file. The caller holds m.mu.
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

func (m *losses) setEnabled(enabled bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enabled = enabled
}

func (m *losses) add(counts map[journal.Source]int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.enabled {
		return nil
	}
	changed := false
	for s, n := range counts {
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

// addUnknown adds records that damage took.
func (m *losses) addUnknown(records int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[journal.Source{}] += records
	return m.save()
}

// clearUnknown removes what addUnknown has added, because all ends were sent.
func (m *losses) clearUnknown() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts[journal.Source{}] == 0 {
		return nil
	}
	delete(m.counts, journal.Source{})
	return m.save()
}

// addLine adds the record in a line, if the line belongs to a target's listing.
func (m *losses) addLine(line []byte) error {
	l, err := outputs.ParseLine(bytes.TrimSuffix(line, []byte("\n")))
	if err != nil || l.Target != "" || l.Change != "" {
		return nil
	}
	target := record.Target{Account: l.Account, Region: l.Region, Kind: l.Kind}
	return m.add(map[journal.Source]int{{Run: l.Run, Target: target}: 1})
}

var endPrefix = []byte(`{"kind":"_target"`)

// forEachEnd calls do for each line that ends a target with losses. The caller holds m.mu.
func (m *losses) forEachEnd(lines []byte, do func(offset int, raw []byte, s journal.Source, o record.Outcome)) {
	if len(m.counts) == 0 || !bytes.Contains(lines, endPrefix) {
		return
	}
	offset := 0
	for raw := range bytes.Lines(lines) {
		if bytes.HasPrefix(raw, endPrefix) {
			if l, err := outputs.ParseLine(bytes.TrimSuffix(raw, []byte("\n"))); err == nil {
				t := record.Target{Account: l.Account, Region: l.Region, Kind: l.Target}
				s := journal.Source{Run: l.Run, Target: t}
				o := record.Outcome{Target: t, Run: l.Run, State: l.State, Records: l.Records}
				unknown := m.counts[journal.Source{}] > 0
				if unknown && o.State == record.OK {
					o.State = record.Partial
				}
				if unknown || m.counts[s] > 0 {
					do(offset, raw, s, o)
				}
			}
		}
		offset += len(raw)
	}
}

// annotateEnds returns the lines with the losses subtracted at the ends of targets. Without losses it returns lines.
func (m *losses) annotateEnds(lines []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []byte
	from := 0
	m.forEachEnd(lines, func(offset int, raw []byte, s journal.Source, o record.Outcome) {
		line, err := endLine(o, m.counts[s])
		if err != nil {
			return // cannot happen: it is a struct of strings and a number
		}
		out = append(append(out, lines[from:offset]...), line...)
		from = offset + len(raw)
	})
	if out == nil {
		return lines
	}
	return append(out, lines[from:]...)
}

// clearEnds removes the losses of targets whose ends were sent.
func (m *losses) clearEnds(lines []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := false
	m.forEachEnd(lines, func(_ int, _ []byte, s journal.Source, _ record.Outcome) {
		changed = changed || m.counts[s] > 0
		delete(m.counts, s)
	})
	if !changed {
		return nil
	}
	return m.save()
}
