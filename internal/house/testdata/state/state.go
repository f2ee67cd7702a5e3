// Package state has every form of package variable that house distinguishes. A want comment marks an expected finding.
package state

import (
	"errors"
	"flag"
	"net/http"
	"os"
	"sync"
)

var (
	table       = map[string]int{"a": 1}
	errTable    = errors.New("not in the table")
	once        = sync.OnceValue(func() int { return len(table) })
	_           = errTable
	empty       int                              // want "has no value"
	lock        sync.Mutex                       // want "has no value"
	port        = flag.Int("port", 80, "a port") // want "comes from flag.Int"
	cache       = map[string]int{}
	list        = []int{1, 2}
	counter     = 0
	row         = struct{ n int }{1}
	first, last = 1, 2
	pointed     = 1
)

func reads() int {
	table := map[string]int{} // one of its own
	table["a"] = 2
	p := &list[0]
	sum := once() + first + *p
	for range list {
		sum++
	}
	return sum
}

func writes(m map[string]int) *int {
	cache["a"] = 1                 // want "cache: is modified"
	delete(cache, "a")             // want "cache: is modified"
	list = append(list, 1)         // want "list: is modified"
	copy(list[1:], list)           // want "list: is modified"
	counter++                      // want "counter: is modified"
	row.n = 2                      // want "row: is modified"
	m["a"], last = 1, 2            // want "last: is modified"
	http.DefaultClient.Timeout = 1 // want "in another package"
	os.Args = nil                  // want "in another package"
	for empty = range list {       // want "empty: is modified"
		lock.Unlock()
	}
	return &pointed // want "pointed: is modified"
}
