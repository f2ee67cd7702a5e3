package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/web/act"
)

const startedRun = "01JDEXAMPLE0000000000000001"

// A fakeEngine starts and cancels runs that do not exist, and signs in without AWS. Whoever has a name may act.
type fakeEngine struct {
	runs         []string
	begun, block chan struct{} // a check says that it has begun, and waits; nil: it does not
}

func (e *fakeEngine) Start(_ context.Context, account string) (string, error) {
	if len(e.runs) > 0 {
		return "", fmt.Errorf("account %q: %w", account, runner.ErrBusy)
	}
	e.runs = append(e.runs, startedRun)
	return e.runs[0], nil
}

func (e *fakeEngine) Cancel(context.Context, string, error) (runs []string, err error) {
	runs, e.runs = e.runs, nil
	return runs, nil
}

func (e *fakeEngine) check(_ context.Context, account string) (map[string]any, error) {
	if e.block != nil {
		close(e.begun)
		<-e.block
	}
	return map[string]any{"account": account, "status": record.Success}, nil
}

func (e *fakeEngine) login(_ context.Context, account, code string) (act.Session, error) {
	if code != "123456" {
		return act.Session{}, &record.Fault{
			Reason: record.MFAInvalid, Hint: "Wait for the next code.", Err: errors.New("the code was refused"),
		}
	}
	return act.Session{Account: account, Device: "arn:aws:iam::1:mfa/ops", Expires: time.Now().Add(time.Hour)}, nil
}

func (e *fakeEngine) actor(r *http.Request) (string, error) {
	if who := r.Header.Get("Authorization"); who != "" {
		return who, nil
	}
	return "", errors.New("nobody acts from there")
}

// actExample sends the example of an act: as somebody, as nobody, and for an account that does not exist.
func (c *checker) actExample(path, example string, op *operation) {
	c.Helper()
	if c.engine.runs = nil; strings.HasSuffix(path, "/cancel") {
		c.engine.runs = []string{startedRun}
	}
	body := op.RequestBody.Content["application/json"].Example
	answer := c.act(example, "alice", body)
	if _, ok := op.Responses[strconv.Itoa(answer.StatusCode)]; !ok {
		c.Errorf("%s: %s", example, answer.Status)
	}
	if answer := c.act(example, "", body); answer.StatusCode != http.StatusForbidden {
		c.Errorf("%s as nobody: %s", example, answer.Status)
	}
	other := strings.ReplaceAll(path, "{name}", "nobody")
	if answer := c.act(other, "alice", body); answer.StatusCode != http.StatusNotFound {
		c.Errorf("%s: %s", other, answer.Status)
	}
}

// Why an act is refused is in the document, too.
func TestRefusedActs(t *testing.T) {
	c := newChecker(t)
	refused := func(verb, body string, want int) {
		t.Helper()
		answer := c.act("/api/v1/accounts/prod/"+verb, "alice", []byte(body))
		var p struct {
			Status int
			Detail string
		}
		if err := json.NewDecoder(answer.Body).Decode(&p); err != nil || answer.StatusCode != want || p.Status != want ||
			p.Detail == "" {
			t.Errorf("%s %s: %s, %+v, %v; want %d", verb, body, answer.Status, p, err, want)
		}
	}
	refused("cancel", "", http.StatusConflict)
	c.engine.runs = []string{startedRun}
	refused("run", "", http.StatusConflict)
	refused("mfa", `{"code":"000000"}`, http.StatusUnprocessableEntity)
	refused("mfa", `{"code":"12345"}`, http.StatusBadRequest)
	refused("acknowledge", `{"reason":"throttling"}`, http.StatusNotFound)
	c.engine.begun, c.engine.block = make(chan struct{}), make(chan struct{})
	first := make(chan int)
	go func() { first <- c.act("/api/v1/accounts/prod/check", "alice", nil).StatusCode }()
	<-c.engine.begun
	refused("check", "", http.StatusConflict)
	close(c.engine.block)
	if status := <-first; status != http.StatusOK {
		t.Errorf("the first check: %d", status)
	}
}
