// Package fairqueue gives out slots in turn to accounts that wait. The limit on calls and the local engine share it.
package fairqueue

// A Queue gives out slots: max in total, perAccount to one account, and in turn to the accounts that wait. So one
// account with a thousand items delays the first item of another by one slot, not by a thousand. Items wait in one of
// two classes; Pop's caller decides which class goes first. The owner does the locking. An account without slots and
// without waiting items takes no memory.
type Queue[T any] struct {
	max, perAccount int
	used            int
	accounts        map[string]*accountQueue[T]
	ready           [2][]*accountQueue[T] // by class: accounts that have waiting items and may take a slot, next first
}

type accountQueue[T any] struct {
	account string
	used    int
	waiting [2][]T
	ready   [2]bool // it is in Queue.ready
}

// New makes a queue for a number of slots.
func New[T any](slots int) *Queue[T] {
	return &Queue[T]{max: max(slots, 1), perAccount: PerAccount(slots), accounts: map[string]*accountQueue[T]{}}
}

// PerAccount is how many of the slots one account may have: an eighth.
func PerAccount(slots int) int { return max(slots/8, 1) }

// Used is the number of slots in use.
func (f *Queue[T]) Used() int { return f.used }

// Accounts is the number of accounts in memory.
func (f *Queue[T]) Accounts() int { return len(f.accounts) }

func (f *Queue[T]) account(account string) *accountQueue[T] {
	q := f.accounts[account]
	if q == nil {
		q = &accountQueue[T]{account: account}
		f.accounts[account] = q
	}
	return q
}

// update adds an account to the ready list if it may take a slot, and removes it from memory if it has nothing.
func (f *Queue[T]) update(q *accountQueue[T]) {
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

// Push adds an item that waits for a slot.
func (f *Queue[T]) Push(account string, class int, x T) {
	q := f.account(account)
	q.waiting[class] = append(q.waiting[class], x)
	f.update(q)
}

// Pop takes a slot for the next item, of class first if one waits there.
func (f *Queue[T]) Pop(first int) (account string, x T, ok bool) {
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

// TryAcquire takes a slot without waiting, but not if a waiting item could have it.
func (f *Queue[T]) TryAcquire(account string) bool {
	if f.used >= f.max || f.HasWaiting() {
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

// Release gives a slot back.
func (f *Queue[T]) Release(account string) {
	q := f.accounts[account]
	q.used--
	f.used--
	f.update(q)
}

// Remove removes the waiting items that match, and returns how many there were.
func (f *Queue[T]) Remove(account string, match func(T) bool) (n int) {
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

// HasWaiting reports whether an item waits that may take a slot.
func (f *Queue[T]) HasWaiting() bool {
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
