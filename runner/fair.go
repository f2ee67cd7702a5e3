package runner

// fair hands out places: max in all, each to one account at most, and in turn between the accounts that wait. So one
// account with a thousand things to do delays another's first by one place, not by a thousand. It has no lock: its
// owner does. An account that neither holds nor waits takes no memory.
type fair[T any] struct {
	max, each int
	used      int
	accounts  map[string]*share[T]
	turn      []*share[T] // accounts with something waiting and a place left to them, next first
}

type share[T any] struct {
	account string
	used    int
	waiting []T
	inTurn  bool
}

// newFair keeps an eighth of the places as the most that one account may hold.
func newFair[T any](places int) *fair[T] {
	places = max(places, 1)
	return &fair[T]{max: places, each: max(places/8, 1), accounts: map[string]*share[T]{}}
}

func (f *fair[T]) share(account string) *share[T] {
	s := f.accounts[account]
	if s == nil {
		s = &share[T]{account: account}
		f.accounts[account] = s
	}
	return s
}

// tidy puts an account in the queue, or out of memory.
func (f *fair[T]) tidy(s *share[T]) {
	switch {
	case len(s.waiting) > 0 && s.used < f.each && !s.inTurn:
		s.inTurn = true
		f.turn = append(f.turn, s)
	case len(s.waiting) == 0 && s.used == 0:
		delete(f.accounts, s.account)
	}
}

// push lets x wait for its account's turn.
func (f *fair[T]) push(account string, x T) {
	s := f.share(account)
	s.waiting = append(s.waiting, x)
	f.tidy(s)
}

// pop takes a place for whoever's turn it is.
func (f *fair[T]) pop() (account string, x T, ok bool) {
	for f.used < f.max && len(f.turn) > 0 {
		s := f.turn[0]
		f.turn[0] = nil
		f.turn = f.turn[1:]
		s.inTurn = false
		if len(s.waiting) == 0 || s.used >= f.each { // it was removed from, or the bounds were changed, since
			f.tidy(s)
			continue
		}
		x = s.waiting[0]
		var none T
		s.waiting[0] = none
		s.waiting = s.waiting[1:]
		s.used++
		f.used++
		f.tidy(s)
		return s.account, x, true
	}
	return "", x, false
}

// try takes a place at once, but never before someone who waits.
func (f *fair[T]) try(account string) bool {
	if f.used >= f.max || len(f.turn) > 0 {
		return false
	}
	s := f.share(account)
	if s.used >= f.each {
		return false
	}
	s.used++
	f.used++
	return true
}

func (f *fair[T]) release(account string) {
	s := f.accounts[account]
	s.used--
	f.used--
	f.tidy(s)
}

// remove drops what waits and matches, and says how much that was.
func (f *fair[T]) remove(account string, match func(T) bool) (n int) {
	s := f.accounts[account]
	if s == nil {
		return 0
	}
	kept := s.waiting[:0]
	for _, x := range s.waiting {
		if match(x) {
			n++
		} else {
			kept = append(kept, x)
		}
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
	if !s.inTurn {
		f.tidy(s)
	}
	return n
}

// wanted reports whether an account waits that could use a place.
func (f *fair[T]) wanted() bool { return len(f.turn) > 0 }

func (f *fair[T]) resize(places int) {
	f.max = max(places, 1)
	f.each = max(f.max/8, 1)
	for _, s := range f.accounts {
		f.tidy(s)
	}
}
