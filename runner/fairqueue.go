package runner

// A fairQueue gives out slots: max in total, perAccount to one account, and in turn to the accounts that wait. So one
// account with a thousand items delays the first item of another by one slot, not by a thousand. Items wait in one of
// two classes; pop's caller decides which class goes first. The owner does the locking. An account without slots and
// without waiting items takes no memory.
type fairQueue[T any] struct {
	max, perAccount int
	used            int
	accounts        map[string]*accountQueue[T]
	ready           [2][]*accountQueue[T] // by class: accounts that have waiting items and may take a slot, next first
}

type accountQueue[T any] struct {
	account string
	used    int
	waiting [2][]T
	ready   [2]bool // it is in fairQueue.ready
}

// newFairQueue lets one account have at most an eighth of the slots.
func newFairQueue[T any](slots int) *fairQueue[T] {
	slots = max(slots, 1)
	return &fairQueue[T]{max: slots, perAccount: max(slots/8, 1), accounts: map[string]*accountQueue[T]{}}
}

func (f *fairQueue[T]) account(account string) *accountQueue[T] {
	q := f.accounts[account]
	if q == nil {
		q = &accountQueue[T]{account: account}
		f.accounts[account] = q
	}
	return q
}

// update adds an account to the ready list if it may take a slot, and removes it from memory if it has nothing.
func (f *fairQueue[T]) update(q *accountQueue[T]) {
	keep := q.used > 0
	for c := range q.waiting {
		if len(q.waiting[c]) > 0 && q.used < f.perAccount && !q.ready[c] {
			q.ready[c] = true
			f.ready[c] = append(f.ready[c], q)
		}
		keep = keep || len(q.waiting[c]) > 0 || q.ready[c]
	}
	if !keep {
		delete(f.accounts, q.account)
	}
}

// push adds an item that waits for a slot.
func (f *fairQueue[T]) push(account string, class int, x T) {
	q := f.account(account)
	q.waiting[class] = append(q.waiting[class], x)
	f.update(q)
}

// pop takes a slot for the next item, of class first if one waits there.
func (f *fairQueue[T]) pop(first int) (account string, x T, ok bool) {
	for _, c := range [2]int{first, 1 - first} {
		for f.used < f.max && len(f.ready[c]) > 0 {
			q := f.ready[c][0]
			f.ready[c][0] = nil
			f.ready[c] = f.ready[c][1:]
			q.ready[c] = false
			// Since it became ready, its items may have been removed, or it may have used all its slots.
			if w := q.waiting[c]; len(w) > 0 && q.used < f.perAccount {
				var none T
				x, w[0] = w[0], none
				q.waiting[c] = w[1:]
				q.used++
				f.used++
				ok = true
			}
			f.update(q)
			if ok {
				return q.account, x, true
			}
		}
	}
	return "", x, false
}

// tryAcquire takes a slot without waiting, but not if a waiting item could have it.
func (f *fairQueue[T]) tryAcquire(account string) bool {
	if f.used >= f.max || f.hasWaiting() {
		return false
	}
	q := f.account(account)
	if q.used >= f.perAccount {
		return false
	}
	q.used++
	f.used++
	return true
}

func (f *fairQueue[T]) release(account string) {
	q := f.accounts[account]
	q.used--
	f.used--
	f.update(q)
}

// remove removes the waiting items that match, and returns how many there were.
func (f *fairQueue[T]) remove(account string, match func(T) bool) (n int) {
	q := f.accounts[account]
	if q == nil {
		return 0
	}
	for c, waiting := range q.waiting {
		kept := waiting[:0]
		for _, x := range waiting {
			if match(x) {
				n++
			} else {
				kept = append(kept, x)
			}
		}
		clear(waiting[len(kept):])
		q.waiting[c] = kept
	}
	f.update(q)
	return n
}

// hasWaiting reports whether an item waits that may take a slot.
func (f *fairQueue[T]) hasWaiting() bool {
	for c, ready := range f.ready {
		// Since it became ready, its items may have been removed, or it may have used all its slots.
		for len(ready) > 0 && (len(ready[0].waiting[c]) == 0 || ready[0].used >= f.perAccount) {
			q := ready[0]
			ready[0] = nil
			ready = ready[1:]
			f.ready[c] = ready
			q.ready[c] = false
			f.update(q)
		}
		if len(ready) > 0 {
			return true
		}
	}
	return false
}

// localSlots are the queue's slots, for jobs that can use more than one.
type localSlots Local

func (p *localSlots) tryAcquire(account string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.tryAcquire(account)
}

func (p *localSlots) release(account string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.release(account)
	(*Local)(p).dispatch()
}

func (p *localSlots) hasWaiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.hasWaiting()
}
