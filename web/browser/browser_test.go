// Package browser opens the page of the demo in Chromium, and does there what people do. It has tests only, and is a
// module of its own because of its dependencies. `.ci/run browser` runs it; SCREENSHOTS names the folder for the
// screenshots, UPDATE_IMAGES=1 writes those of README.
package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// The demo and the browser of all tests.
var (
	pageURL string
	demoDir string // has its configuration
	browser context.Context
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "collector-browser-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	stop, err := startDemo(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.UserDataDir(filepath.Join(dir, "profile")), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true), chromedp.Flag("force-device-scale-factor", "1"))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	defer end()
	var endBrowser context.CancelFunc
	browser, endBrowser = chromedp.NewContext(allocator)
	defer endBrowser()
	if err := chromedp.Do(browser); err != nil {
		return 0, fmt.Errorf("start Chromium: %w", err)
	}
	return m.Run(), nil
}

// startDemo runs the demo, which has 200 accounts, until all of them have been listed.
func startDemo(dir string) (stop func() error, err error) {
	binary := os.Getenv("COLLECTOR")
	if binary == "" {
		return nil, errors.New("set COLLECTOR to the path of the program; .ci/run browser does so")
	}
	demoDir = filepath.Join(dir, "demo")
	demo := exec.Command(binary, "demo", "--listen", "127.0.0.1:0", "--dir", demoDir)
	lines, err := demo.StderrPipe()
	if err != nil {
		return nil, err
	}
	started := time.Now()
	if err := demo.Start(); err != nil {
		return nil, err
	}
	stop = func() error {
		if err := demo.Process.Signal(os.Interrupt); err != nil {
			return err
		}
		return demo.Wait()
	}
	found := make(chan string, 1)
	go func() {
		address := regexp.MustCompile(`web page\s+(http://\S+)/`)
		all := bufio.NewScanner(lines)
		for all.Scan() {
			if m := address.FindStringSubmatch(all.Text()); m != nil {
				found <- m[1]
			}
		}
		_, _ = io.Copy(io.Discard, lines)
	}()
	select {
	case pageURL = <-found:
	case <-time.After(time.Minute):
		return nil, errors.Join(errors.New("the demo does not print its address"), stop())
	}
	for {
		if late, err := overdue(); err == nil && late == 0 {
			fmt.Printf("the demo had listed all accounts after %s\n", time.Since(started).Round(100*time.Millisecond))
			return stop, nil
		}
		if time.Since(started) > 2*time.Minute {
			return nil, errors.Join(errors.New("the demo does not list all accounts in time"), stop())
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// overdue counts the accounts and regions that have no state yet, or wait for their first listing since the start.
func overdue() (n int, err error) {
	var all struct {
		Items []struct {
			State   string  `json:"state"`
			Overdue float64 `json:"overdue_seconds"`
		} `json:"items"`
	}
	if err := getJSON("/api/v1/coverage?limit=1000", &all); err != nil {
		return 0, err
	}
	if len(all.Items) < 200 {
		return 1, nil
	}
	for _, item := range all.Items {
		if item.State == "never_listed" || item.State == "ok" && item.Overdue > 0 {
			n++
		}
	}
	return n, nil
}

func getJSON(path string, into any) error {
	answer, err := http.Get(pageURL + path)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// A tab is a tab of the browser. It fails its test if a page asks another host for something, or logs an error.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string
}

const tabTimeout = time.Minute

func newTab(t *testing.T, width, height int64) *tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(browser)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, tabTimeout)
	b := &tab{t: t, ctx: ctx}
	t.Cleanup(func() {
		cancel()
		closeTab()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, text := range b.problems {
			t.Error(text)
		}
	})
	if err := chromedp.Listen(ctx, b.observe); err != nil {
		t.Fatal(err)
	}
	b.resize(width, height)
	call(b, network.Enable, network.EnableParams{})
	call(b, runtime.Enable, cdp.Empty{})
	call(b, network.ClearBrowserCookies, cdp.Empty{})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: "light"}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	return b
}

// call sends a command to the browser.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) resize(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
}

func (b *tab) observe(event any) {
	problem := ""
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, pageURL+"/") && !strings.HasPrefix(e.Request.URL, "data:") {
			problem = "a request to " + e.Request.URL
		}
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 {
			problem = fmt.Sprintf("%d for %s", e.Response.Status, e.Response.URL)
		}
	case *runtime.EventExceptionThrown:
		problem = "an exception of a script: " + e.ExceptionDetails.Text
	}
	if problem != "" {
		b.mu.Lock()
		b.problems = append(b.problems, problem)
		b.mu.Unlock()
	}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// get runs an action and returns its value.
func get[T any](b *tab, a chromedp.Action[T]) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(pageURL + path))
}

// follow clicks on a link or a button, and waits for the page behind it.
func (b *tab) follow(selector chromedp.CSS) {
	b.t.Helper()
	if _, err := chromedp.RunResponse(b.ctx, chromedp.Click(selector)); err != nil {
		b.t.Fatalf("click on %s: %v", selector, err)
	}
}

// submit types a text into a field and sends its form.
func (b *tab) submit(field chromedp.CSS, text string) {
	b.t.Helper()
	if _, err := chromedp.RunResponse(b.ctx, chromedp.SendKeys(field, text+"\r")); err != nil {
		b.t.Fatalf("send %q by %s: %v", text, field, err)
	}
}

// wants fails the test if the text of an element does not contain a text.
func (b *tab) wants(selector chromedp.CSS, want string) {
	b.t.Helper()
	if got := get(b, chromedp.Text(selector)); !strings.Contains(got, want) {
		b.t.Errorf("%s does not say %q but %q", selector, want, got)
	}
}

// awaits waits until the text of an element contains a text: an act takes its time, and the page behind it is another.
func (b *tab) awaits(selector, want string) {
	b.t.Helper()
	script := fmt.Sprintf(`document.querySelector(%q)?.textContent ?? ""`, selector)
	got := ""
	for b.ctx.Err() == nil {
		text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script))
		if err == nil { // else the page is just being replaced
			got = text
		}
		if strings.Contains(got, want) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("%s does not say %q but %q", selector, want, got)
}

// screenshot keeps a picture of the whole page.
func (b *tab) screenshot(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	picture := get(b, chromedp.FullScreenshot(100))
	if err := errors.Join(
		os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644),
	); err != nil {
		b.t.Fatal(err)
	}
}
