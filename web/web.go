// Package web shows the state of the collector: /metrics for Prometheus, health for orchestrators, the API and the
// routes that its caller adds, such as those of the page. It reads the status board. [Guard] decides who may reload and
// act. It leaves the choice of the listener to its caller. Begin at [NewMetrics], which counts events,
// and [NewServer], which serves them.
package web

import (
	"iter"

	"github.com/aws-collector/collector/runner/board"
)

// A StatusSource returns the current state of this process: it is a [board.Board]. Both answers are copies: reading
// them neither delays nor starts a collection.
type StatusSource interface {
	// Accounts returns every account and task of the configuration in force, in the order in which to show them.
	Accounts() iter.Seq[board.AccountInfo]
	// Targets returns every known target, always in the same order, so that a limit omits the same ones in each scrape.
	Targets() iter.Seq[board.TargetInfo]
}
