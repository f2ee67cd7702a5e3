package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// usage is what one run of a child took.
type usage struct {
	wall, cpu    time.Duration
	rss          int64         // peak, bytes; 0 where there is no /proc
	goroutines   int           // the most that a scrape saw; 0 where nobody scraped
	simulatorCPU time.Duration // CPU of this process meanwhile
	stdout       []byte
}

// A child is a program to be run and measured.
type child struct {
	path     string
	args     []string
	env      []string // all of it: nothing is inherited
	dir      string
	wantExit int // the code that is expected

	metricsURL string        // its /metrics, scraped each interval; "": nobody scrapes
	interval   time.Duration // the interval
}

// environment is what a child gets that talks to the cloud and to nothing else.
func (b *bench) environment(c *cloud) ([]string, error) {
	env := []string{
		"HOME=" + b.dir, "TMPDIR=" + b.dir, "PATH=" + os.Getenv("PATH"),
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
	if c == nil {
		return env, nil
	}
	env = append(env, "AWS_ENDPOINT_URL="+c.url)
	if c.ca != nil {
		if err := os.WriteFile(b.path("ca.pem"), c.ca, 0o600); err != nil {
			return nil, err
		}
		env = append(env, "AWS_CA_BUNDLE="+b.path("ca.pem"))
	}
	return env, nil
}

// measure runs the child to its end.
func (ch child) measure(ctx context.Context) (usage, error) {
	cmd := exec.CommandContext(ctx, ch.path, ch.args...)
	cmd.Env, cmd.Dir = ch.env, ch.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	before := ownCPU()
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	var u usage
	var watching sync.WaitGroup
	over, stop := context.WithCancel(ctx)
	watching.Go(func() { u.rss = watchMemory(over, cmd.Process.Pid) })
	if ch.metricsURL != "" {
		watching.Go(func() { u.goroutines = watchGoroutines(over, ch.metricsURL, ch.interval) })
	}
	err := cmd.Wait()
	u.wall = time.Since(began)
	stop()
	watching.Wait()
	u.simulatorCPU = ownCPU() - before
	var exit *exec.ExitError
	if errors.As(err, &exit) && ch.wantExit != 0 && exit.ExitCode() == ch.wantExit {
		err = nil
	}
	if err != nil {
		return u, fmt.Errorf("%s %s: %w\n%s", ch.path, strings.Join(ch.args, " "), err, tail(stderr.Bytes(), 4000))
	}
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	u.stdout = stdout.Bytes()
	return u, nil
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return append([]byte("… "), b[len(b)-n:]...)
	}
	return b
}

// watchMemory reads VmHWM, the most that the process ever had resident, until it ends. rusage has such a figure as well,
// but that one counts what this process had resident when it forked.
func watchMemory(ctx context.Context, pid int) int64 {
	var most int64
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if n, err := peakMemory(pid); err == nil && n > most {
			most = n
		}
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
	}
}

func peakMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(status), "VmHWM:")
	if !ok {
		return 0, errors.New("no VmHWM") // a process that has ended
	}
	line, _, _ := strings.Cut(rest, "\n")
	kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 10, 64)
	return kib << 10, err
}

// watchGoroutines scrapes go_goroutines until the child ends.
func watchGoroutines(ctx context.Context, url string, every time.Duration) int {
	most := 0
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
		if n, err := goroutines(ctx, url); err == nil && n > most { // no listener yet, or no longer
			most = n
		}
	}
}

func goroutines(ctx context.Context, url string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is kept
			return strconv.Atoi(v)
		}
	}
	return 0, errors.Join(lines.Err(), errors.New("no go_goroutines"))
}
