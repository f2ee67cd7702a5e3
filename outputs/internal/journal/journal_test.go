package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/aws-collector/collector/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A testJournal records the damage that its journal reports.
type testJournal struct {
	*Journal
	damage []Damage
}

func openJournal(t testing.TB, dir string, size int64) *testJournal {
	t.Helper()
	o := new(testJournal)
	j, err := Open(Options{Dir: dir, MaxBytes: size, Damaged: func(d Damage) { o.damage = append(o.damage, d) }})
	if err != nil {
		t.Fatal(err)
	}
	o.Journal = j
	t.Cleanup(func() { _ = j.Close() }) // tests that need its error close it themselves
	return o
}

var target = record.Target{Account: "prod", Region: "us-east-1", Kind: "ec2_instance"}

func (o *testJournal) put(t testing.TB, run string, ids ...string) {
	t.Helper()
	if _, err := o.Append(Entry{ID: ids[0], Run: run, Target: target, N: len(ids)}, linesOf(ids...), false); err != nil {
		t.Fatal(err)
	}
}

func linesOf(ids ...string) (b []byte) {
	for _, id := range ids {
		b = fmt.Appendf(b, `{"id":%q}`+"\n", id)
	}
	return b
}

func idsOf(lines []byte) (ids []string) {
	for l := range bytes.Lines(lines) {
		var id string
		if _, err := fmt.Sscanf(string(l), `{"id":%q}`, &id); err != nil {
			id = "torn: " + string(l)
		}
		ids = append(ids, id)
	}
	return ids
}

// readAll reads and acknowledges everything, in chunks of n lines.
func (o *testJournal) readAll(t testing.TB, n int) (ids []string) {
	t.Helper()
	for range 100_000 {
		ch, err := o.Read(n, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if ch.LineCount == 0 {
			return ids
		}
		ids = append(ids, idsOf(ch.Lines)...)
		if err := o.Ack(ch); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("reading does not end")
	return nil
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	o := openJournal(t, dir, 1<<20)
	o.put(t, "r1", "a", "b", "c")
	o.put(t, "r1", "d")
	o.put(t, "r2", "e")
	uncompressed := int64(len(linesOf("a", "b", "c", "d", "e")))
	if st := o.Stat(); st.Records != 5 || st.Bytes == 0 || st.Uncompressed != uncompressed || st.Oldest.IsZero() {
		t.Errorf("Stat returns %+v", st)
	}
	ch, err := o.Read(2, 1<<20)
	if err != nil || ch.Records != 2 || ch.Run != "r1" || ch.Target != target ||
		!slices.Equal(idsOf(ch.Lines), []string{"a", "b"}) {
		t.Fatalf("the first chunk is %+v %v %v", ch, idsOf(ch.Lines), err)
	}
	again, _ := o.Read(2, 1<<20)
	if !slices.Equal(idsOf(again.Lines), []string{"a", "b"}) {
		t.Errorf("what was not acknowledged is not read again: %v", idsOf(again.Lines))
	}
	if err := o.Ack(again); err != nil {
		t.Fatal(err)
	}
	if st := o.Stat(); st.Records != 3 {
		t.Errorf("after two of five: %+v", st)
	}
	if err := o.Close(); err != nil { // in the middle of a frame
		t.Fatal(err)
	}
	o = openJournal(t, dir, 1<<20)
	if st := o.Stat(); st.Records != 3 || st.Uncompressed != int64(len(linesOf("c", "d", "e"))) || st.Oldest.IsZero() {
		t.Errorf("after a restart: %+v", st)
	}
	ch, _ = o.Read(10, 1<<20)
	if ch.Run != "" || ch.Target != target {
		t.Errorf("lines of two runs are of run %q, target %v", ch.Run, ch.Target)
	}
	if got := o.readAll(t, 10); !slices.Equal(got, []string{"c", "d", "e"}) {
		t.Errorf("after a restart: %v", got)
	}
	if st := o.Stat(); st != (Stat{}) {
		t.Errorf("of an empty journal: %+v", st)
	}
}

func TestBytesLimit(t *testing.T) {
	o := openJournal(t, t.TempDir(), 1<<20)
	o.put(t, "r", "a", strings.Repeat("b", 500), "c")
	var got []int
	for {
		ch, err := o.Read(100, 100)
		if err != nil {
			t.Fatal(err)
		}
		if ch.LineCount == 0 {
			break
		}
		got = append(got, ch.LineCount)
		if err := o.Ack(ch); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, []int{1, 1, 1}) { // the large line is alone
		t.Errorf("chunks of %v lines", got)
	}
}

// randomLine returns text that does not compress.
func randomLine(n int) string {
	b := make([]byte, n)
	x := uint64(time.Now().UnixNano()) | 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = 'a' + byte(x%26)
	}
	return string(b)
}

// A full journal drops whole segments, oldest first, and returns the loss. Without drop it refuses appends until
// there is space.
func TestFull(t *testing.T) {
	const size = 64 << 10
	dir := t.TempDir()
	o := openJournal(t, dir, size)
	var ids []string
	dropped := 0
	for i := range 200 {
		id := fmt.Sprintf("%03d-%s", i, randomLine(1000))
		ids = append(ids, id)
		n, err := o.Append(Entry{ID: id, N: 1}, linesOf(id), true)
		if err != nil {
			t.Fatal(err)
		}
		dropped += n.Records
		if got := onDisk(t, dir); got > size {
			t.Fatalf("%d bytes on disk", got)
		}
	}
	if st := o.Stat(); dropped == 0 || st.Records != 200-dropped || st.Bytes < size/2 {
		t.Errorf("dropped %d, waiting: %+v", dropped, st)
	}
	if got := o.readAll(t, 7); !slices.Equal(got, ids[dropped:]) {
		t.Errorf("%d records are left of 200, %d were dropped", len(got), dropped)
	}
	n := 0
	for ; ; n++ {
		if _, err := o.Append(Entry{N: 1}, linesOf(ids[n]), false); errors.Is(err, ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if got := o.readAll(t, 7); !slices.Equal(got, ids[:n]) || n < 50 {
		t.Errorf("%d records of %d", len(got), n)
	}
	o.put(t, "r", "room")
	if _, err := o.Append(Entry{}, linesOf(randomLine(2*size)), true); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one that is larger than all: %v", err)
	}
	if got := o.readAll(t, 7); !slices.Equal(got, []string{"room"}) {
		t.Error(got)
	}
}

func onDisk(t *testing.T, dir string) (n int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		n += st.Size()
	}
	return n
}

// A chunk that is being sent is not dropped, and is not counted twice.
func TestClaimed(t *testing.T) {
	o := openJournal(t, t.TempDir(), 64<<10)
	o.put(t, "r", "sending", randomLine(3000))
	ch, err := o.Read(1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	dropped := 0
	for i := range 200 {
		n, err := o.Append(Entry{N: 1}, linesOf(fmt.Sprint(i, randomLine(1000))), true)
		if err != nil {
			t.Fatal(err)
		}
		dropped += n.Records
	}
	if err := o.Ack(ch); err != nil {
		t.Fatal(err)
	}
	if st := o.Stat(); st.Records+dropped != 201 {
		t.Errorf("sent 1, dropped %d, %d waiting, of 202", dropped, st.Records)
	}
	if left := len(o.readAll(t, 100)); left+dropped != 201 {
		t.Errorf("sent 1, dropped %d, %d were read later, of 202", dropped, left)
	}
}

// A released chunk can be dropped.
func TestReleased(t *testing.T) {
	o := openJournal(t, t.TempDir(), 64<<10)
	o.put(t, "r", "waiting")
	if _, err := o.Read(1, 1<<20); err != nil {
		t.Fatal(err)
	}
	o.Release()
	dropped := 0
	for range 200 {
		n, err := o.Append(Entry{N: 1}, linesOf(randomLine(1000)), true)
		if err != nil {
			t.Fatal(err)
		}
		dropped += n.Records
	}
	if got := o.readAll(t, 100); len(got)+dropped != 201 || got[0] == "waiting" {
		t.Errorf("%d read, %d dropped", len(got), dropped)
	}
}

// Segments that were read to the end use no space.
func TestFreesSpace(t *testing.T) {
	dir := t.TempDir()
	o := openJournal(t, dir, 256<<10)
	for i := range 500 {
		o.put(t, "r", fmt.Sprint(i, randomLine(2000)))
		if got := o.readAll(t, 10); len(got) != 1 {
			t.Fatal(got)
		}
	}
	if n := onDisk(t, dir); n > 16<<10 {
		t.Errorf("%d bytes on disk, and the journal is empty", n)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	o := openJournal(t, dir, 1<<20)
	if _, err := Open(Options{Dir: dir, MaxBytes: 1 << 20}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second one: %v", err)
	}
	o.put(t, "r", "a")
	if st, err := Inspect(dir); err != nil || st.Records != 1 { // needs no lock
		t.Errorf("%+v %v", st, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{o.Close(), errorOf(o.Append(Entry{}, nil, true)), o.Sync()} {
		if err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	o = openJournal(t, dir, 1<<20)
	if got := o.readAll(t, 1); !slices.Equal(got, []string{"a"}) {
		t.Error(got)
	}
}

func errorOf(_ Dropped, err error) error { return err }

// Many goroutines append and sync while one reads.
func TestConcurrent(t *testing.T) {
	o := openJournal(t, t.TempDir(), 1<<20)
	const writers, each = 8, 100
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("%d.%03d", w, i)
				if _, err := o.Append(Entry{ID: id, N: 1}, linesOf(id), false); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					if err := o.Sync(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	var got []string
	for len(got) < writers*each {
		got = append(got, o.readAll(t, 13)...)
	}
	wg.Wait()
	next := make([]int, writers)
	for _, id := range got {
		var w, i int
		if _, err := fmt.Sscanf(id, "%d.%d", &w, &i); err != nil || i != next[w] {
			t.Fatalf("%q came when %d was due", id, next[w])
		}
		next[w]++
	}
}

// After any sequence of appends, reads, acknowledgements, drops and reopens, the lines that were neither acknowledged
// nor dropped are there, in order, and Stat counts them.
func TestModel(t *testing.T) {
	root := t.TempDir()
	cases := 0
	rapid.Check(t, func(r *rapid.T) {
		cases++
		dir := filepath.Join(root, fmt.Sprint(cases))
		o := openJournal(t, dir, 16<<10)
		defer func() { _ = o.Close() }()
		var want []string
		n := 0
		r.Repeat(map[string]func(*rapid.T){
			"append": func(r *rapid.T) {
				var ids []string
				for range rapid.IntRange(1, 5).Draw(r, "lines") {
					ids = append(ids, fmt.Sprint(n, "-", randomLine(rapid.IntRange(0, 400).Draw(r, "size"))))
					n++
				}
				dropped, err := o.Append(Entry{Run: "r", N: len(ids)}, linesOf(ids...), true)
				if err != nil {
					r.Fatal(err)
				}
				of := 0
				for src, n := range dropped.Sources {
					if src.Run == "r" {
						of += n
					}
				}
				if of != dropped.Records {
					r.Fatalf("%d of %d dropped records are of the run", of, dropped.Records)
				}
				want = append(want, ids...)[dropped.Records:]
			},
			"read": func(r *rapid.T) {
				ch, err := o.Read(rapid.IntRange(1, 9).Draw(r, "n"), rapid.IntRange(1, 2000).Draw(r, "bytes"))
				if err != nil || ch.LineCount == 0 && len(want) > 0 || !slices.Equal(idsOf(ch.Lines), want[:ch.LineCount]) {
					r.Fatalf("read %d lines: %v, want of %d", ch.LineCount, err, len(want))
				}
				if rapid.Bool().Draw(r, "ack") && ch.LineCount > 0 {
					if err := o.Ack(ch); err != nil {
						r.Fatal(err)
					}
					want = want[ch.LineCount:]
				} else {
					o.Release()
				}
			},
			"reopen": func(r *rapid.T) {
				if err := o.Close(); err != nil {
					r.Fatal(err)
				}
				o = openJournal(t, dir, 16<<10)
			},
			"": func(r *rapid.T) {
				st := o.Stat()
				uncompressed := int64(len(linesOf(want...)))
				empty := len(want) == 0
				if st.Records != len(want) || st.Uncompressed != uncompressed || (st.Bytes == 0) != empty ||
					st.Oldest.IsZero() != empty {
					r.Fatalf("%+v for %d", st, len(want))
				}
			},
		})
		if len(o.damage) > 0 {
			r.Fatalf("damage %+v", o.damage)
		}
		if got := o.readAll(t, 4); !slices.Equal(got, want) {
			r.Fatalf("%d at the end, want %d", len(got), len(want))
		}
	})
}

// A segment that was read to the end is removed, while the cursor's file still refers to it. Its number is not reused:
// otherwise the next append would look acknowledged.
func TestNumbersAreNotReused(t *testing.T) {
	dir := t.TempDir()
	o := openJournal(t, dir, 64<<10)
	o.put(t, "r", randomLine(3000))
	o.readAll(t, 10)
	for i := range 3 {
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		o = openJournal(t, dir, 64<<10)
		if i == 0 {
			o.put(t, "r", "next")
		}
	}
	if got := o.readAll(t, 10); !slices.Equal(got, []string{"next"}) {
		t.Errorf("read %v", got)
	}
}

// BenchmarkAppend measures time and compression with realistic records.
func BenchmarkAppend(b *testing.B) {
	var lines []byte
	for i := range 1000 {
		lines = fmt.Appendf(lines, `{"kind":"ec2_instance","id":"i-%017x","account":"prod","account_id":"222222222222",`+
			`"partition":"aws","region":"us-east-1","name":"web-%d","tags":{"Name":"web-%d","team":"platform"},`+
			`"extra_tags":{"account_name":"prod"},"run":"01JD","collected_at":"2026-11-21T22:15:03Z",`+
			`"data":{"InstanceId":"i-%017x","ImageId":"ami-0abcdef1234567890","InstanceType":"m5.large",`+
			`"PrivateIpAddress":"10.0.%d.%d","State":{"Code":16,"Name":"running"},"SubnetId":"subnet-%08x",`+
			`"VpcId":"vpc-0123456789abcdef0","SecurityGroups":[{"GroupId":"sg-%08x","GroupName":"web"}],`+
			`"LaunchTime":"2026-10-%02dT10:%02d:12Z","Placement":{"AvailabilityZone":"us-east-1a","GroupName":"",`+
			`"Tenancy":"default"},"Monitoring":{"State":"disabled"},"EbsOptimized":true}}`+"\n",
			i*7919, i, i, i*7919, i/256, i%256, i*31, i%17, i%28+1, i%60)
	}
	o := openJournal(b, b.TempDir(), 1<<30)
	b.SetBytes(int64(len(lines)))
	for b.Loop() {
		if _, err := o.Append(Entry{N: 1000}, lines, true); err != nil {
			b.Fatal(err)
		}
	}
	st := o.Stat()
	b.ReportMetric(float64(st.Uncompressed)/float64(st.Bytes), "times-smaller")
}
