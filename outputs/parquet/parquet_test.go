package parquet

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"
	"pgregory.net/rapid"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 123456000, time.UTC)

func resources() []*inventory.Resource {
	return []*inventory.Resource{
		{
			Record: record.Record{
				Kind:        "ec2_instance",
				ID:          "i-0abc",
				Name:        "wéb \x00 1",
				Account:     "prod",
				AccountID:   "012345678901",
				Partition:   "aws",
				Region:      "us-east-1",
				Tags:        map[string]string{"Name": "wéb 1", "team": ""},
				ExtraTags:   map[string]string{"account_name": "prod"},
				Run:         "01JDRUN",
				CollectedAt: noon,
				Data:        json.RawMessage(`{"InstanceId": "i-0abc", "Z":1, "A":"<&>\u0000","Ports":[1,2]}`),
			},
			State: "running", Type: "t3.micro", FirstSeen: noon.Add(-time.Hour), StateSince: noon, ValidFrom: noon,
			LastSeen: noon.Add(time.Hour),
		},
		{
			Record: record.Record{
				Kind:        "ec2_vpc",
				ID:          "vpc-1",
				Account:     "prod",
				AccountID:   "012345678901",
				Partition:   "aws",
				Region:      "us-east-1",
				Tags:        map[string]string{},
				ExtraTags:   map[string]string{},
				Run:         "01JDRUN",
				CollectedAt: noon,
				Data:        json.RawMessage(`{}`),
			},
			FirstSeen: noon, StateSince: noon, ValidFrom: noon, ValidTo: noon.Add(time.Minute), Ended: inventory.Absent,
		},
	}
}

func newWriter[Row Version | Delivery](t testing.TB, b *bytes.Buffer) *Writer[Row] {
	t.Helper()
	return NewWriter[Row](b)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openFile(t testing.TB, b []byte) *parquet.File {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	must(t, err)
	return f
}

func readAll[Row any](t testing.TB, b []byte) []Row {
	t.Helper()
	rows, err := parquet.Read[Row](bytes.NewReader(b), int64(len(b)))
	must(t, err)
	return rows
}

func sampleFile(t testing.TB) []byte {
	var b bytes.Buffer
	w := newWriter[Version](t, &b)
	for _, r := range resources() {
		must(t, w.Write(VersionOf(r)))
	}
	must(t, w.Close())
	return b.Bytes()
}

// The rows that are read equal the rows that were written, including the bytes of the data.
func TestVersionsRoundTrip(t *testing.T) {
	var want []Version
	for _, r := range resources() {
		want = append(want, VersionOf(r))
	}
	if d := cmp.Diff(want, readAll[Version](t, sampleFile(t))); d != "" {
		t.Error(d)
	}
}

func TestDeliveriesRoundTrip(t *testing.T) {
	n := int64(0)
	rs := resources()
	want := []Delivery{
		{Envelope: EnvelopeOf(rs[0])},
		{Envelope: EnvelopeOf(rs[1]), Change: inventory.WasGone, ChangedAt: noon, Ended: inventory.Absent},
		{
			Envelope:  EnvelopeOf(rs[1]),
			Change:    inventory.WasChanged,
			ChangedAt: noon,
			Changes:   `[{"path":"State","from":"a","to":"b"}]`,
		},
		{
			Envelope: Envelope{
				Kind:      "_target",
				Account:   "prod",
				Region:    "us-east-1",
				State:     "ok",
				Tags:      map[string]string{},
				ExtraTags: map[string]string{},
			},
			Target:  "ec2_vpc",
			Records: &n,
		},
	}
	var b bytes.Buffer
	w := newWriter[Delivery](t, &b)
	for _, d := range want {
		must(t, w.Write(d))
	}
	must(t, w.Close())
	want[3].Data = []byte("null")
	if d := cmp.Diff(want, readAll[Delivery](t, b.Bytes())); d != "" {
		t.Error(d)
	}
}

// Users have tables over these files: columns may be added, but not removed, and their types may not change.
func TestSchema(t *testing.T) {
	envelope := `
	required binary kind (STRING);
	required binary id (STRING);
	optional binary name (STRING);
	optional binary state (STRING);
	optional binary type (STRING);
	required binary account (STRING);
	required binary account_id (STRING);
	required binary partition (STRING);
	required binary region (STRING);
	required group tags (MAP) {
		repeated group key_value {
			required binary key (STRING);
			required binary value (STRING);
		}
	}
	required group extra_tags (MAP) {
		repeated group key_value {
			required binary key (STRING);
			required binary value (STRING);
		}
	}
	required binary run (STRING);
	optional int64 collected_at (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS));
	required binary data (JSON);
`
	var delivered bytes.Buffer
	must(t, newWriter[Delivery](t, &delivered).Close())
	for name, c := range map[string]struct {
		tags    *parquet.Schema // the struct tags, for readers in Go
		written []byte
		more    string
	}{
		"Version": {parquet.SchemaOf(Version{}), sampleFile(t),
			`	required int64 first_seen (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS));
	required int64 state_since (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS));
	required int64 valid_from (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS));
	optional int64 valid_to (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS));
	optional binary ended (STRING);
	optional int64 last_seen (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS));
`},
		"Delivery": {parquet.SchemaOf(Delivery{}), delivered.Bytes(), `	optional binary change (STRING);
	optional int64 changed_at (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS));
	optional binary ended (STRING);
	optional binary changes (STRING);
	optional binary target (STRING);
	optional int64 records (INT(64,true));
`},
	} {
		want := "message " + name + " {" + envelope + c.more + "}"
		if d := cmp.Diff(want, openFile(t, c.written).Schema().String()); d != "" {
			t.Errorf("the file of a %s: %s", name, d)
		}
		if d := cmp.Diff(want, c.tags.String()); d != "" {
			t.Errorf("the tags of %s: %s", name, d)
		}
	}
}

// Readers skip pages by the index, so the bounds of a page contain all of its values. Long values have cut bounds.
func TestPageBounds(t *testing.T) {
	var b bytes.Buffer
	w := newWriter[Version](t, &b)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		e := Envelope{Kind: "k", ID: fmt.Sprint(i), Data: noise(r, 2000)}
		must(t, w.Write(Version{Envelope: e, FirstSeen: noon, StateSince: noon, ValidFrom: noon}))
	}
	must(t, w.Close())
	f := openFile(t, b.Bytes())
	column, ok := f.Schema().Lookup("data")
	if !ok {
		t.Fatal("no column data")
	}
	pages := 0
	for _, g := range f.RowGroups() {
		chunk := g.ColumnChunks()[column.ColumnIndex]
		index, err := chunk.ColumnIndex()
		must(t, err)
		reader := chunk.Pages()
		for n := range index.NumPages() {
			page, err := reader.ReadPage()
			must(t, err)
			values := make([]parquet.Value, page.NumValues())
			if _, err := page.Values().ReadValues(values); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			low, high := index.MinValue(n).ByteArray(), index.MaxValue(n).ByteArray()
			for _, v := range values {
				if bytes.Compare(v.ByteArray(), low) < 0 || bytes.Compare(v.ByteArray(), high) > 0 {
					t.Fatalf("page %d has %.40q, which is not from %.40q to %.40q", n, v.ByteArray(), low, high)
				}
			}
			if len(low) > maxBoundBytes || len(high) > maxBoundBytes {
				t.Errorf("the bounds of page %d have %d and %d bytes", n, len(low), len(high))
			}
			pages++
		}
		must(t, reader.Close())
	}
	if pages < 3 {
		t.Errorf("%d pages are too few for this test", pages)
	}
}

// noise returns data that compresses to half its size: hexadecimal digits.
func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n/2)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return fmt.Appendf(nil, `{"Noise":%q}`, hex.EncodeToString(b))
}

// heapBytes is the size of the heap. It is signed: memory of earlier tests may be freed meanwhile.
func heapBytes() int64 {
	runtime.GC()
	runtime.GC() // empties pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The memory of a writer is bounded by a row group, whatever the size of the file.
func TestMemoryIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED, NOT PASSED: it writes 200 MB")
	}
	counted := new(byteCounter)
	w := NewWriter[Version](counted)
	r := rand.New(rand.NewPCG(1, 2))
	const rows = 100_000
	var peak int64
	before := heapBytes()
	for i := range rows {
		if i%10_000 == 0 {
			peak = max(peak, heapBytes()-before)
		}
		must(t, w.Write(Version{
			Envelope:   Envelope{Kind: "ec2_instance", ID: fmt.Sprint(i), Data: noise(r, 2000)},
			FirstSeen:  noon,
			StateSince: noon,
			ValidFrom:  noon,
		}))
	}
	must(t, w.Close())
	if limit := int64(56 << 20); peak > limit {
		t.Errorf("%d MiB in memory, more than %d MiB", peak>>20, limit>>20)
	}
	if counted.n < rows*1000 {
		t.Errorf("%d bytes were written: the data compresses too well for this test", counted.n)
	}
}

// Between files a writer keeps little memory, even after a large file or a large row.
func TestMemoryBetweenFiles(t *testing.T) {
	before := heapBytes()
	w := NewWriter[Version](new(byteCounter))
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20, 40 << 20} {
		e := Envelope{Kind: "k", Data: noise(r, n)}
		must(t, w.Write(Version{Envelope: e, FirstSeen: noon, StateSince: noon, ValidFrom: noon}))
	}
	must(t, w.Close())
	if kept := heapBytes() - before; kept > 8<<20 {
		t.Errorf("%d MiB are still in memory", kept>>20)
	}
	runtime.KeepAlive(w)
}

type byteCounter struct{ n int }

func (c *byteCounter) Write(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}

func TestGroupsAreBounded(t *testing.T) {
	var b bytes.Buffer
	w := newWriter[Version](t, &b)
	big := fmt.Appendf(nil, `{"Pad":%q}`, strings.Repeat("x", 1<<20))
	for i := range 200 { // 200 MiB of data
		must(t, w.Write(Version{
			Envelope:   Envelope{Kind: "k", ID: fmt.Sprint(i), Data: big},
			FirstSeen:  noon,
			StateSince: noon,
			ValidFrom:  noon,
		}))
	}
	const small = maxGroupRows + 10
	for i := range small {
		must(t, w.Write(Version{
			Envelope:   Envelope{Kind: "k", ID: fmt.Sprint(200 + i), Data: []byte("{}")},
			FirstSeen:  noon,
			StateSince: noon,
			ValidFrom:  noon,
		}))
	}
	must(t, w.Close())
	for i, v := range readAll[Version](t, b.Bytes()) {
		if want := fmt.Sprint(i); v.ID != want || len(v.Data) != 2 && i >= 200 || !bytes.Equal(v.Data, big) && i < 200 {
			t.Fatalf("row %d has id %s and %d bytes of data", i, v.ID, len(v.Data))
		}
	}
	var rows int64
	groups := openFile(t, b.Bytes()).RowGroups()
	for i, g := range groups {
		if g.NumRows() > maxGroupRows {
			t.Errorf("group %d has %d rows", i, g.NumRows())
		}
		if i < 6 && g.NumRows()*int64(len(big)) > maxGroupBytes {
			t.Errorf("group %d has %d rows of 1 MiB", i, g.NumRows())
		}
		rows += g.NumRows()
	}
	if len(groups) != 8 || rows != 200+small {
		t.Errorf("%d groups with %d rows, want 8 with %d", len(groups), rows, 200+small)
	}
}

// drawRows draws rows with any text and time, and many NULL and empty values.
func drawRows(t *rapid.T) (v Version, d Delivery) {
	text := rapid.OneOf(
		rapid.SampledFrom([]string{"", "", "a", "\u00e9\x00", strings.Repeat("long", 500)}),
		rapid.String(),
	)
	at := rapid.Custom(func(t *rapid.T) time.Time { // not the year 1: the library counts nanoseconds
		return time.UnixMicro(rapid.Int64Range(-1<<50, 1<<52).Draw(t, "microseconds")).UTC()
	})
	maybeTime := rapid.OneOf(rapid.Just(time.Time{}), at)
	tags := rapid.MapOfN(text, text, 0, 4)
	e := Envelope{
		Kind:        text.Draw(t, "kind"),
		ID:          text.Draw(t, "id"),
		Name:        text.Draw(t, "name"),
		State:       text.Draw(t, "state"),
		Type:        text.Draw(t, "type"),
		Account:     text.Draw(t, "account"),
		AccountID:   text.Draw(t, "account_id"),
		Partition:   text.Draw(t, "partition"),
		Region:      text.Draw(t, "region"),
		Tags:        tags.Draw(t, "tags"),
		ExtraTags:   tags.Draw(t, "extra_tags"),
		Run:         text.Draw(t, "run"),
		CollectedAt: maybeTime.Draw(t, "collected_at"),
		Data:        []byte(text.Draw(t, "data")),
	}
	v = Version{
		Envelope:   e,
		FirstSeen:  at.Draw(t, "first_seen"),
		StateSince: at.Draw(t, "state_since"),
		ValidFrom:  at.Draw(t, "valid_from"),
		ValidTo:    maybeTime.Draw(t, "valid_to"),
		Ended:      text.Draw(t, "ended"),
		LastSeen:   maybeTime.Draw(t, "last_seen"),
	}
	d = Delivery{
		Envelope:  e,
		Change:    text.Draw(t, "change"),
		ChangedAt: maybeTime.Draw(t, "changed_at"),
		Ended:     text.Draw(t, "ended"),
		Changes:   text.Draw(t, "changes"),
		Target:    text.Draw(t, "target"),
		Records:   rapid.Ptr(rapid.Int64(), true).Draw(t, "records"),
	}
	return v, d
}

func TestAnyRowRoundTrips(t *testing.T) {
	var versions, deliveries bytes.Buffer
	v, d := newWriter[Version](t, &versions), newWriter[Delivery](t, &deliveries)
	rapid.Check(t, func(r *rapid.T) {
		versions.Reset()
		deliveries.Reset()
		v.Reset(&versions)
		d.Reset(&deliveries)
		wantV, wantD := []Version{}, []Delivery{}
		for range rapid.IntRange(0, 8).Draw(r, "rows") {
			a, b := drawRows(r)
			wantV, wantD = append(wantV, a), append(wantD, b)
			must(t, v.Write(a))
			must(t, d.Write(b))
		}
		must(t, v.Close())
		must(t, d.Close())
		if diff := cmp.Diff(wantV, readAll[Version](t, versions.Bytes()), cmpopts.EquateEmpty()); diff != "" {
			r.Fatal(diff)
		}
		if diff := cmp.Diff(wantD, readAll[Delivery](t, deliveries.Bytes()), cmpopts.EquateEmpty()); diff != "" {
			r.Fatal(diff)
		}
	})
}

// The writer copies: a row's data may change after Write.
func TestWriteCopies(t *testing.T) {
	var b bytes.Buffer
	w := newWriter[Version](t, &b)
	r := VersionOf(resources()[0])
	want := string(r.Data)
	must(t, w.Write(r))
	clear(r.Tags)
	for i := range r.Data {
		r.Data[i] = 'x'
	}
	must(t, w.Close())
	if got := readAll[Version](t, b.Bytes())[0]; string(got.Data) != want || len(got.Tags) != 2 {
		t.Errorf("read %s, %v", got.Data, got.Tags)
	}
}

// A writer that failed in the middle of a file can write the next one.
func TestReset(t *testing.T) {
	w := NewWriter[Version](brokenWriter{})
	rs := resources()
	for range 3 {
		must(t, w.Write(VersionOf(rs[0])))
	}
	if err := w.Close(); !errors.Is(err, errBroken) {
		t.Fatalf("Close on a disk that is full: %v", err)
	}
	var b bytes.Buffer
	w.Reset(&b)
	must(t, w.Write(VersionOf(rs[1])))
	must(t, w.Close())
	if got := readAll[Version](t, b.Bytes()); len(got) != 1 || got[0].ID != "vpc-1" {
		t.Errorf("read %v", got)
	}
}

var errBroken = errors.New("no space left")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestNoRows(t *testing.T) {
	var b bytes.Buffer
	w := newWriter[Version](t, &b)
	must(t, w.Close())
	if n := openFile(t, b.Bytes()).NumRows(); n != 0 {
		t.Errorf("%d rows", n)
	}
}

func documents() [][]byte {
	data := make([][]byte, 1000)
	for i := range data {
		data[i] = fmt.Appendf(nil, `{"InstanceId":"i-%017x","ImageId":"ami-%017x"`, i*7919, i%50)
		for n := 0; len(data[i]) < 1900; n++ {
			data[i] = fmt.Appendf(
				data[i], `,"Member%d":{"GroupId":"sg-%017x","Status":"attached","AttachTime":"2026-11-%02dT10:%02d:00Z"}`, n,
				i*n, n%28+1, i%60,
			)
		}
		data[i] = append(data[i], '}')
	}
	return data
}

// manyEnvelopes returns envelopes like those of a real inventory: sorted by account and region, few types, many names.
func manyEnvelopes(n int) []Envelope {
	data := documents()
	all := make([]Envelope, n)
	for i := range all {
		target := i / 500
		account := fmt.Sprintf("%012d", 222222222222+target/4)
		all[i] = Envelope{
			Kind:      "ec2_instance",
			ID:        fmt.Sprintf("i-%017x", uint64(i)*0x9e3779b97f4a7c15>>4),
			Name:      fmt.Sprintf("web-%d", i%700),
			State:     []string{"running", "running", "stopped"}[i%3],
			Type:      fmt.Sprintf("m%d.large", i%9),
			Account:   "account-" + account,
			AccountID: account,
			Partition: "aws",
			Region:    []string{"us-east-1", "us-west-2", "eu-west-1", "ap-south-1"}[target%4],
			Tags: map[string]string{
				"Name":  fmt.Sprintf("web-%d", i%700),
				"team":  fmt.Sprintf("team-%d", i%40),
				"env":   "prod",
				"owner": fmt.Sprintf("person-%d@example.com", i%300),
			},
			ExtraTags:   map[string]string{"account_name": "account-" + account, "unit": "shop"},
			Run:         "01JDRUN0000000000000000000",
			CollectedAt: noon.Add(time.Duration(target) * 137 * time.Millisecond),
			Data:        data[i%1000],
		}
	}
	return all
}

func BenchmarkWrite(b *testing.B) {
	counted := new(byteCounter)
	w := NewWriter[Version](counted)
	rows := manyEnvelopes(20_000)
	b.SetBytes(2000)
	b.ReportAllocs()
	n := 0
	for ; b.Loop(); n++ {
		e := rows[n%len(rows)]
		seen := noon.Add(-time.Duration(n*7919%1000) * time.Hour)
		must(b, w.Write(Version{Envelope: e, FirstSeen: seen, StateSince: seen, ValidFrom: seen, LastSeen: e.CollectedAt}))
	}
	must(b, w.Close())
	b.ReportMetric(float64(counted.n)/float64(n), "written-bytes/op")
}

// Objects of 500 rows, as an output writes them.
func BenchmarkObjects(b *testing.B) {
	counted := new(byteCounter)
	w := NewWriter[Delivery](counted)
	rows := manyEnvelopes(500)
	b.ReportAllocs()
	n := 0
	for ; b.Loop(); n++ {
		w.Reset(counted)
		for i := range rows {
			must(b, w.Write(Delivery{Envelope: rows[i]}))
		}
		must(b, w.Close())
	}
	b.ReportMetric(float64(counted.n)/float64(n), "written-bytes/op")
}
