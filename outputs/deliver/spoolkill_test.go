package deliver_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
)

// killTestEnv makes this test binary collect until it is killed. Its value is a folder, a URL and the number of the
// kill.
const killTestEnv = "OUTPUTS_TEST_VICTIM"

// A postOutput sends each batch as a POST.
type postOutput struct{ url string }

func (p postOutput) Send(ctx context.Context, b outputs.Batch) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(b.Lines))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body) // only the status matters
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("receiver answered %s", res.Status)
	}
	return nil
}

func (postOutput) Flush(context.Context) error { return nil }

func (postOutput) Close(context.Context) error {
	http.DefaultClient.CloseIdleConnections()
	return nil
}

// openPostOutput opens a set with one postOutput.
func openPostOutput(ctx context.Context, dir, url string) (*deliver.Set, *deliver.Fan, error) {
	post := outputs.Type{
		Name: "post",
		Open: func(context.Context, any, outputs.Deps) (outputs.Output, error) { return postOutput{url}, nil },
	}
	batching := outputs.Batching{MaxRecords: 40, MaxWait: config.Duration(5 * time.Millisecond)}
	s := deliver.NewSet([]outputs.Type{post},
		outputs.Deps{Log: slog.New(slog.DiscardHandler), SpoolDir: dir})
	f, err := s.Open(ctx, []deliver.Spec{{Type: "post", Options: &remoteOptions{Batching: batching}}})
	return s, f, err
}

// runKillTest sends pages of several targets at once, and prints what was sent and which targets have ended.
func runKillTest(args string) error {
	dir, rest, _ := strings.Cut(args, "|")
	url, round, _ := strings.Cut(rest, "|")
	ctx := context.Background()
	_, f, err := openPostOutput(ctx, dir, url)
	if err != nil {
		return err
	}
	var say sync.Mutex
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	for g := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				target := fmt.Sprintf("%s.%d.%d", round, g, n)
				for page := range 3 {
					name := fmt.Sprintf("%s.%d", target, page)
					p := outputstest.Page(name, 5+rand.IntN(30), rand.IntN(2000))
					if err := f.Send(ctx, outputstest.BatchOf(name, p)); err != nil {
						errs <- err
						return
					}
					say.Lock()
					fmt.Println("sent", name, p.Len())
					say.Unlock()
				}
				if err := f.End(ctx, record.Outcome{}); err != nil {
					errs <- err
					return
				}
				say.Lock()
				fmt.Println("ended", target)
				say.Unlock()
			}
		})
	}
	wg.Wait()
	return <-errs
}

// A flakyReceiver stalls, fails or does not answer at random. It counts what it accepts.
type flakyReceiver struct {
	mu       sync.Mutex
	reliable bool
	got      map[string]int // by stable id
	ids      map[string]int // by resource
	requests int
}

func (m *flakyReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	calm := m.reliable
	m.mu.Unlock()
	mood := rand.IntN(10)
	if !calm && mood == 0 {
		time.Sleep(rand.N(30 * time.Millisecond)) // this is a real process
	}
	if !calm && mood == 1 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed
	}
	m.mu.Lock()
	m.requests++
	for l, err := range outputs.Lines(body) {
		if err != nil {
			m.ids["torn: "+err.Error()]++
			continue
		}
		m.got[l.StableID()]++
		m.ids[l.ID]++
	}
	m.mu.Unlock()
	if !calm && mood == 2 {
		panic(http.ErrAbortHandler) // accepted, but the sender gets no answer
	}
}

// The process is killed twenty times at random moments, while its receiver stalls and fails. Every record of every
// ended target arrives, and only records of requests in flight arrive twice.
func TestKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m := &flakyReceiver{got: map[string]int{}, ids: map[string]int{}}
	server := httptest.NewServer(m)
	defer server.Close()
	want := map[string]bool{}
	kills := 20
	for kill := range kills {
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%s|%d", killTestEnv, dir, server.URL, kill))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		noErr(t, err)
		noErr(t, cmd.Start())
		sent := map[string][]string{} // by target
		lines := bufio.NewScanner(out)
		until := time.AfterFunc(time.Hour, func() { _ = cmd.Process.Kill() })
		random := func() { until.Reset(50*time.Millisecond + rand.N(200*time.Millisecond)) }
		early := kill%4 == 0 // during the start, which takes long on a busy machine
		if early {
			random()
		}
		for begun := false; lines.Scan(); begun = true {
			if !early && !begun {
				random()
			}
			var verb, name string
			var n int
			fmt.Sscan(lines.Text(), &verb, &name, &n)
			switch target := name[:max(0, strings.LastIndexByte(name, '.'))]; verb {
			case "sent":
				for i := range n {
					sent[target] = append(sent[target], fmt.Sprintf("%s-%d", name, i))
				}
			case "ended":
				for _, id := range sent[name] {
					want[id] = true
				}
			}
		}
		until.Stop()
		if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("the process was not killed: %v", err)
		}
	}
	m.mu.Lock()
	m.reliable = true
	m.mu.Unlock()
	s, f, err := openPostOutput(t.Context(), dir, server.URL)
	noErr(t, err)
	noErr(t, s.Drain(t.Context()))
	noErr(t, f.Close(t.Context()))
	server.CloseClientConnections()

	m.mu.Lock()
	defer m.mu.Unlock()
	missing, twice := 0, 0
	for id := range want {
		if m.ids[id] == 0 {
			missing++
		}
	}
	for _, n := range m.got {
		twice += n - 1
	}
	for id := range m.ids {
		if strings.HasPrefix(id, "torn") {
			t.Error(id)
		}
	}
	t.Logf("%d records of targets that ended, %d requests, %d records twice", len(want), m.requests, twice)
	if len(want) < 1000 {
		t.Errorf("only %d records in all: too few for the test", len(want))
	}
	if missing > 0 {
		t.Errorf("%d of %d records never arrived", missing, len(want))
	}
	// One request per kill, and those whose answers were lost: about a tenth.
	if most := (kills + m.requests/5) * 40; twice > most {
		t.Errorf("%d records came twice, of at most %d", twice, most)
	}
}
