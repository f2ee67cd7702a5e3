package awsfake

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A fleet is what one region of one account holds: resources that fit each other, rendered when they are first listed.
// What it is made of follows from the AWS's seed, the account and the region; what [AWS.Evolve] does to it follows from
// the seed and the order of the calls.
type fleet struct {
	aws                      *AWS
	owner, partition, region string
	dnsSuffix                string

	mu        sync.Mutex
	lastSeq   int                    // of the resource that was made last
	version   int                    // goes up whenever a list changes
	resources map[string][]*resource // by the action that lists them, in order of seq
	rendered  map[string][]item      // as rendered; never changed in place, so that a reader may keep what it took
	network   *network
	instances []*instance // those listed: living, or terminated within the hour
	launched  int         // ever
}

// A resource is one element of a listing.
type resource struct {
	seq    int
	count  int      // how many resources the element is: a reservation is as many as it has instances
	id     string   // what a request may name it by
	ids    []string // or by these
	public bool     // another's, shown to all who do not ask for their own
	tagged []*tagged
	render func(*xmlWriter)
	xml    []byte // nil until it is listed, or again after a change
}

type tag struct{ key, value string }

// tagged is what DescribeTags shows of a resource.
type tagged struct {
	id, kind string // "instance", "volume", …
	tags     []tag
}

func (m *xmlWriter) tags(t []tag) {
	m.list("tagSet", len(t), func(i int) {
		m.text("key", t[i].key)
		m.text("value", t[i].value)
	})
}

// An item is one element of a listing as it is sent. Its seq never changes, so that a page token stays good while the fleet lives.
type item struct {
	seq, count int
	id         string
	ids        []string
	public     bool
	xml        []byte
}

func (a *AWS) fleetOf(c *Account, region string) *fleet {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return c.fleets[region]
}

// AddInstances gives the account n instances in a region, with all that belongs to them: network, volumes, snapshots, images….
func (c *Account) AddInstances(region string, n int) { c.fleet(region).launch(n, launchedBefore) }

// AddNetwork gives the account a region without instances: its network, images and templates stand there alone.
func (c *Account) AddNetwork(region string) { c.fleet(region) }

// ShareFleets lets the account hold what another holds, byte for byte: the owner's ids included. It costs no memory, so that a
// benchmark can have thousands of accounts.
func (c *Account) ShareFleets(of *Account) {
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	for region, f := range of.fleets {
		c.fleets[region] = f
	}
}

func (c *Account) fleet(region string) *fleet {
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	if f := c.fleets[region]; f != nil {
		return f
	}
	f := &fleet{
		aws: c.aws, owner: c.ID, partition: c.Partition, region: region, dnsSuffix: dnsSuffix(c.Partition),
		resources: make(map[string][]*resource), rendered: make(map[string][]item),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buildNetwork()
	c.fleets[region] = f
	return f
}

// random is a generator that only the seed, the place and the words decide.
func (f *fleet) random(words ...string) *rand.Rand {
	b := f.aws.derive(append([]string{"random", f.owner, f.region}, words...)...)
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])))
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// add puts a resource into a listing. The caller holds f.mu.
func (f *fleet) add(action string, r *resource) *resource {
	f.lastSeq++
	r.seq = f.lastSeq
	r.count = cmp.Or(r.count, 1)
	f.resources[action] = append(f.resources[action], r)
	f.invalidate(action, r)
	return r
}

// invalidate makes a resource be rendered anew. The caller holds f.mu.
func (f *fleet) invalidate(action string, r *resource) {
	r.xml = nil
	f.version++
	delete(f.rendered, action)
	delete(f.rendered, "DescribeTags")
}

// remove takes a resource out of a listing. The caller holds f.mu.
func (f *fleet) remove(action string, r *resource) {
	f.resources[action] = slices.DeleteFunc(f.resources[action], func(o *resource) bool { return o == r })
	f.invalidate(action, r)
}

// items is a listing as it stands, and its version.
func (f *fleet) items(action string) ([]item, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.purgeTerminated()
	list, ok := f.rendered[action]
	if !ok {
		if action == "DescribeTags" {
			list = f.tags()
		} else {
			list = f.render(f.resources[action])
		}
		f.rendered[action] = list
	}
	return list, f.version
}

func (f *fleet) render(of []*resource) []item {
	list := make([]item, 0, len(of))
	for _, r := range of {
		if r.xml == nil {
			m := &xmlWriter{depth: 2}
			m.element("item", func() { r.render(m) })
			r.xml = slices.Clip(m.buf)
		}
		list = append(list, item{r.seq, r.count, r.id, r.ids, r.public, r.xml})
	}
	return list
}

// maxTagsPerResource is more tags than a resource may have (50) times the instances of a reservation.
const maxTagsPerResource = 1000

func (f *fleet) tags() []item {
	var list []item
	for _, of := range f.resources {
		for _, r := range of {
			n := 0
			for _, t := range r.tagged {
				for _, kv := range t.tags {
					m := &xmlWriter{depth: 2}
					m.element("item", func() {
						m.text("resourceId", t.id)
						m.text("resourceType", t.kind)
						m.text("key", kv.key)
						m.text("value", kv.value)
					})
					list = append(list, item{seq: r.seq*maxTagsPerResource + n, count: 1, xml: m.buf})
					n++
				}
			}
		}
	}
	slices.SortFunc(list, func(x, y item) int { return cmp.Compare(x.seq, y.seq) })
	return list
}

// terminatedRetention is how long EC2 goes on listing an instance that was terminated.
const terminatedRetention = time.Hour

// purgeTerminated forgets the instances that were terminated an hour ago. The caller holds f.mu.
func (f *fleet) purgeTerminated() {
	now := f.aws.Now()
	over := func(i *instance) bool { return i.state == terminated && now.Sub(i.endedAt) >= terminatedRetention }
	if !slices.ContainsFunc(f.instances, over) {
		return
	}
	for _, i := range f.instances {
		if !over(i) {
			continue
		}
		r := i.reservation
		r.instances = slices.DeleteFunc(r.instances, func(o *instance) bool { return o == i })
		f.invalidateReservation(r)
		if len(r.instances) == 0 {
			f.remove("DescribeInstances", r.resource)
		}
	}
	f.instances = slices.DeleteFunc(f.instances, over)
}

// Evolve lets the fleets live: n things happen, spread over all of them. Instances start, stop, are launched and terminated, and
// change their tags. What is on its way (pending, stopping, shutting-down) from the last time arrives first.
func (a *AWS) Evolve(n int) {
	fleets := a.fleets()
	for _, f := range fleets {
		f.completeTransitions()
	}
	if len(fleets) == 0 {
		return
	}
	turn := a.evolutions.Add(1)
	d := a.derive("evolve", strconv.FormatUint(turn, 10))
	r := rand.New(rand.NewPCG(binary.BigEndian.Uint64(d), turn))
	for range n {
		pick(r, fleets).evolve(r)
	}
}

// fleets is every fleet once, in a stable order.
func (a *AWS) fleets() []*fleet {
	a.mu.RLock()
	defer a.mu.RUnlock()
	seen := make(map[*fleet]bool)
	for _, c := range a.accounts {
		for _, f := range c.fleets {
			seen[f] = true
		}
	}
	all := make([]*fleet, 0, len(seen))
	for f := range seen {
		all = append(all, f)
	}
	slices.SortFunc(all, func(x, y *fleet) int {
		return cmp.Or(cmp.Compare(x.owner, y.owner), cmp.Compare(x.region, y.region))
	})
	return all
}

// completeTransitions ends what was on its way.
func (f *fleet) completeTransitions() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.instances {
		switch i.state {
		case pending:
			i.state = running
		case stopping:
			i.state = stopped
		case shuttingDown:
			i.state = terminated
		default:
			continue
		}
		f.invalidateReservation(i.reservation)
	}
}

// evolve lets one thing happen.
func (f *fleet) evolve(r *rand.Rand) {
	now := f.aws.Now().Truncate(time.Second)
	f.mu.Lock()
	var living []*instance
	for _, i := range f.instances {
		if i.state == running || i.state == stopped {
			living = append(living, i)
		}
	}
	what := r.IntN(10)
	if len(living) == 0 || what == 0 {
		f.mu.Unlock()
		f.launch(1, now)
		return
	}
	defer f.mu.Unlock()
	i := pick(r, living)
	switch {
	case what == 1 && len(living) > 2:
		i.terminate(now)
	case what <= 4:
		i.retag("last-patched", now.Format(time.DateOnly)+" #"+strconv.Itoa(r.IntN(1000)))
	case i.state == running:
		i.stop(now)
	default:
		i.start(now)
	}
}
