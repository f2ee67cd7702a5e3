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

// usage holds the resources that one run of a child used.
type usage struct {
	wall, cpu    time.Duration
	rss          int64         // peak, bytes; 0 where there is no /proc
	goroutines   int           // largest scraped value; 0 without scrapes
	simulatorCPU time.Duration // CPU of this process during the run
	stdout       []byte
}

// A child is a program to run and measure.
type child struct {
	path     string
	args     []string
	env      []string // complete: nothing is inherited
	dir      string
	wantExit int // expected exit code

	metricsURL string        // URL of its /metrics, scraped each interval; "": not scraped
	interval   time.Duration // interval between scrapes
}

// environment returns the environment of a child that may call the cloud only.
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

// measure runs the child until it ends.
func (ch child) measure(ctx context.Context) (usage, error) {
	cmd := exec.CommandContext(ctx, ch.path, ch.args...)
	cmd.Env, cmd.Dir = ch.env, ch.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	before := ownCPU()
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	var u usage
	var watching sync.WaitGroup
	running, stop := context.WithCancel(ctx)
	watching.Go(func() { u.rss = watchMemory(running, cmd.Process.Pid) })
	if ch.metricsURL != "" {
		watching.Go(func() { u.goroutines = watchGoroutines(running, ch.metricsURL, ch.interval) })
	}
	err := cmd.Wait()
	u.wall = time.Since(started)
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

// watchMemory reads VmHWM, the process's peak resident memory, until the process ends. The figure of rusage would
// include the memory of this process at the time of the fork.
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
		return 0, errors.New("no VmHWM") // the process has ended
	}
	line, _, _ := strings.Cut(rest, "\n")
	kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(line, "kB")), 10, 64)
	return kib << 10, err
}

// watchGoroutines scrapes go_goroutines until the child ends and returns the largest value.
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
		// An error means that the child does not listen yet, or no longer.
		if n, err := goroutines(ctx, url); err == nil && n > most {
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
			_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is reused
			return strconv.Atoi(v)
		}
	}
	return 0, errors.Join(lines.Err(), errors.New("no go_goroutines"))
}
