package outputstest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"
)

// An Observer records calls of an Observer, and the log.
type Observer struct {
	Mu      sync.Mutex
	Sent    map[string]int
	Lost    map[string]int
	Errs    map[string]int
	Ups     []string
	Closed  []string
	Answers []string
	Log     bytes.Buffer

	Waiting, Dropped, Letters, Retries int
}

func (w *Observer) OutputSent(o string, n int) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	w.Sent[o] += n
}

func (w *Observer) OutputFailed(o string, n int) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	w.Errs[o]++
	w.Lost[o] += n
}

func (w *Observer) OutputUp(o string, up bool) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	w.Ups = append(w.Ups, fmt.Sprint(o, " ", up))
}

func (w *Observer) OutputClosed(o string) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	w.Closed = append(w.Closed, o)
}

func (w *Observer) OutputSpool(o string, records int, bytes int64, oldest time.Time) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	w.Waiting = records
}

func (w *Observer) OutputDropped(o string, n int, reason string) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	w.Dropped += n
}

func (w *Observer) OutputDeadLetter(string) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	w.Letters++
}

func (w *Observer) OutputRetried(string) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	w.Retries++
}

func (w *Observer) Write(p []byte) (int, error) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	return w.Log.Write(p)
}

func (w *Observer) LoggedLines() int {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	return strings.Count(w.Log.String(), "\n")
}

func NewObserver() *Observer {
	return &Observer{Sent: map[string]int{}, Lost: map[string]int{}, Errs: map[string]int{}}
}

func (w *Observer) OutputAnswered(output string, shown int, leftOut map[string]int) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	w.Answers = append(w.Answers, fmt.Sprint(output, " ", shown, " ", leftOut))
}
