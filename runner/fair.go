package runner

// fairQueue hands out places: max in all, each to one account at most, and in turn between the accounts that wait. So one
// account with a thousand things to do delays another's first by one place, not by a thousand. What waits is of one of two
// classes, and whoever pops says which goes first. It has no lock: its owner does. An account that neither holds nor
// waits takes no memory.
type fairQueue[T any] struct {
	max, perAccount int
	used            int
	accounts        map[string]*accountQueue[T]
	ready           [2][]*accountQueue[T] // by class: accounts with something waiting and a place left to them, next first
}

type accountQueue[T any] struct {
	account string
	used    int
	waiting [2][]T
	ready   [2]bool
}

// newFairQueue keeps an eighth of the places as the most that one account may hold.
func newFairQueue[T any](places int) *fairQueue[T] {
	places = max(places, 1)
	return &fairQueue[T]{max: places, perAccount: max(places/8, 1), accounts: map[string]*accountQueue[T]{}}
}

func (f *fairQueue[T]) account(account string) *accountQueue[T] {
	s := f.accounts[account]
	if s == nil {
		s = &accountQueue[T]{account: account}
		f.accounts[account] = s
	}
	return s
}

// update puts an account in line, or out of memory.
func (f *fairQueue[T]) update(s *accountQueue[T]) {
	keep := s.used > 0
	for c := range s.waiting {
		if len(s.waiting[c]) > 0 && s.used < f.perAccount && !s.ready[c] {
			s.ready[c] = true
			f.ready[c] = append(f.ready[c], s)
		}
		keep = keep || len(s.waiting[c]) > 0 || s.ready[c]
	}
	if !keep {
		delete(f.accounts, s.account)
	}
}

// push lets x wait for its account's turn.
func (f *fairQueue[T]) push(account string, class int, x T) {
	s := f.account(account)
	s.waiting[class] = append(s.waiting[class], x)
	f.update(s)
}

// pop takes a place for whoever's turn it is, in this class if anybody waits there.
func (f *fairQueue[T]) pop(first int) (account string, x T, ok bool) {
	for _, c := range [2]int{first, 1 - first} {
		for f.used < f.max && len(f.ready[c]) > 0 {
			s := f.ready[c][0]
			f.ready[c][0] = nil
			f.ready[c] = f.ready[c][1:]
			s.ready[c] = false
			if w := s.waiting[c]; len(w) > 0 && s.used < f.perAccount { // else it was removed from, or has had its places, since
				var none T
				x, w[0] = w[0], none
				s.waiting[c] = w[1:]
				s.used++
				f.used++
				ok = true
			}
			f.update(s)
			if ok {
				return s.account, x, true
			}
		}
	}
	return "", x, false
}

// tryAcquire takes a place at once, but never before someone who waits and could have it.
func (f *fairQueue[T]) tryAcquire(account string) bool {
	if f.used >= f.max || f.hasWaiting() {
		return false
	}
	s := f.account(account)
	if s.used >= f.perAccount {
		return false
	}
	s.used++
	f.used++
	return true
}

func (f *fairQueue[T]) release(account string) {
	s := f.accounts[account]
	s.used--
	f.used--
	f.update(s)
}

// remove drops what waits and matches, and says how much that was.
func (f *fairQueue[T]) remove(account string, match func(T) bool) (n int) {
	s := f.accounts[account]
	if s == nil {
		return 0
	}
	for c, waiting := range s.waiting {
		kept := waiting[:0]
		for _, x := range waiting {
			if match(x) {
				n++
			} else {
				kept = append(kept, x)
			}
		}
		clear(waiting[len(kept):])
		s.waiting[c] = kept
	}
	f.update(s)
	return n
}

// hasWaiting reports whether an account is in line for a place.
func (f *fairQueue[T]) hasWaiting() bool {
	for c, turn := range f.ready {
		for len(turn) > 0 && (len(turn[0].waiting[c]) == 0 || turn[0].used >= f.perAccount) { // it was removed from, or has had its places, since
			s := turn[0]
			turn[0] = nil
			turn = turn[1:]
			f.ready[c] = turn
			s.ready[c] = false
			f.update(s)
		}
		if len(turn) > 0 {
			return true
		}
	}
	return false
}

func (f *fairQueue[T]) resize(places int) {
	f.max = max(places, 1)
	f.perAccount = max(f.max/8, 1)
	for _, s := range f.accounts {
		f.update(s)
	}
}
