package awsfake

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// regionResources are the resources of one account and region. They refer to each other correctly and are rendered when
// they are first listed. The seed, the account and the region determine the initial resources; the seed and the order
// of the calls determine what [AWS.Evolve] changes.
type regionResources struct {
	aws                      *AWS
	owner, partition, region string
	dnsSuffix                string

	mu        sync.Mutex
	lastSeq   int                    // of the latest resource
	version   int                    // grows with each change of a list
	revisions map[string]int         // of the lists, by action: each grows with each change
	resources map[string][]*resource // by the action that lists them, in order of seq
	rendered  map[string][]item      // by action; never changed in place, so readers may retain a list
	network   *network
	instances []*instance // the listed ones: not terminated, or terminated within the last hour
	launched  int         // instances so far
	groups    []string    // of Auto Scaling, in the order in which they first launched an instance
	databases []database  // besides those that each region has
}

// A resource is one element of a list.
type resource struct {
	seq    int
	count  int      // resources in the element: for a reservation, its instances
	id     string   // selects it in a request
	ids    []string // select it, too
	public bool     // owned by Amazon; listed unless the request asks for the account's own
	tagged []*tagged
	render func(*xmlWriter)
	xml    []byte // nil until it is listed, and after a change
}

type tag struct{ key, value string }

// tagged is a resource as DescribeTags lists it.
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

// An item is one rendered element of a list. Its seq never changes, so page tokens stay valid while resources change.
type item struct {
	seq, count int
	id         string
	ids        []string
	public     bool
	xml        []byte
}

func (a *AWS) resourcesOf(c *Account, region string) *regionResources {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return c.resources[region]
}

// AddInstances adds n instances in a region, with their network, volumes, snapshots and images.
func (c *Account) AddInstances(region string, n int) { c.resourcesIn(region).launch(n, launchedBefore) }

// AddDatabases adds n database instances in a region.
func (c *Account) AddDatabases(region string, n int) {
	f := c.resourcesIn(region)
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		name := fmt.Sprintf("shard-%03d", len(f.databases))
		f.databases = append(f.databases, database{name, "db.t4g.medium", "mysql", "8.4.3", ""})
	}
}

// AddNetwork adds the resources of a region that has no instances: network, images and templates.
func (c *Account) AddNetwork(region string) { c.resourcesIn(region) }

// ShareResources gives the account the resources of another, with the same ids and owner. It costs no memory, so that a
// benchmark can have thousands of accounts.
func (c *Account) ShareResources(of *Account) {
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	for region, f := range of.resources {
		c.resources[region] = f
	}
}

func (c *Account) resourcesIn(region string) *regionResources {
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	if f := c.resources[region]; f != nil {
		return f
	}
	f := &regionResources{
		aws: c.aws, owner: c.ID, partition: c.Partition, region: region, dnsSuffix: dnsSuffix(c.Partition),
		resources: make(map[string][]*resource), rendered: make(map[string][]item), revisions: make(map[string]int),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buildNetwork()
	c.resources[region] = f
	return f
}

// random returns a generator that depends on the seed, the account, the region and the words only.
func (f *regionResources) random(words ...string) *rand.Rand {
	b := f.aws.derive(append([]string{"random", f.owner, f.region}, words...)...)
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])))
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// add adds a resource to a list. The caller holds f.mu.
func (f *regionResources) add(action string, r *resource) *resource {
	f.lastSeq++
	r.seq = f.lastSeq
	r.count = cmp.Or(r.count, 1)
	f.resources[action] = append(f.resources[action], r)
	f.invalidate(action, r)
	return r
}

// invalidate discards what is rendered of a resource. The caller holds f.mu.
func (f *regionResources) invalidate(action string, r *resource) {
	r.xml = nil
	f.version++
	f.revisions[action]++
	delete(f.rendered, action)
	delete(f.rendered, "DescribeTags")
}

// remove removes a resource from a list. The caller holds f.mu.
func (f *regionResources) remove(action string, r *resource) {
	f.resources[action] = slices.DeleteFunc(f.resources[action], func(o *resource) bool { return o == r })
	f.invalidate(action, r)
}

// items returns the current list and its version.
func (f *regionResources) items(action string) ([]item, int) {
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

func (f *regionResources) render(of []*resource) []item {
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

// maxTagsPerResource is more than the tags of an item: 50 for each instance of a reservation.
const maxTagsPerResource = 1000

func (f *regionResources) tags() []item {
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

// terminatedRetention is how long EC2 lists a terminated instance.
const terminatedRetention = time.Hour

// purgeTerminated removes the instances that were terminated an hour ago. The caller holds f.mu.
func (f *regionResources) purgeTerminated() {
	now := f.aws.resourceTime()
	expired := func(i *instance) bool { return i.state == terminated && now.Sub(i.endedAt) >= terminatedRetention }
	if !slices.ContainsFunc(f.instances, expired) {
		return
	}
	for _, i := range f.instances {
		if !expired(i) {
			continue
		}
		r := i.reservation
		r.instances = slices.DeleteFunc(r.instances, func(o *instance) bool { return o == i })
		f.invalidateReservation(r)
		if len(r.instances) == 0 {
			f.remove("DescribeInstances", r.resource)
		}
	}
	f.instances = slices.DeleteFunc(f.instances, expired)
}

// Evolve makes n random changes, spread over all regions: it launches, starts, stops, terminates and tags instances.
// Before that, it completes the transitions (pending, stopping, shutting-down) that the last call began.
func (a *AWS) Evolve(n int) {
	all := a.allResources()
	for _, f := range all {
		f.completeTransitions()
	}
	if len(all) == 0 {
		return
	}
	generation := a.evolutions.Add(1)
	d := a.derive("evolve", strconv.FormatUint(generation, 10))
	r := rand.New(rand.NewPCG(binary.BigEndian.Uint64(d), generation))
	for range n {
		pick(r, all).evolve(r)
	}
}

// allResources returns the resources of every region once, in a stable order.
func (a *AWS) allResources() []*regionResources {
	a.mu.RLock()
	defer a.mu.RUnlock()
	seen := make(map[*regionResources]bool)
	for _, c := range a.accounts {
		for _, f := range c.resources {
			seen[f] = true
		}
	}
	all := make([]*regionResources, 0, len(seen))
	for f := range seen {
		all = append(all, f)
	}
	slices.SortFunc(all, func(x, y *regionResources) int {
		return cmp.Or(cmp.Compare(x.owner, y.owner), cmp.Compare(x.region, y.region))
	})
	return all
}

// completeTransitions moves each instance from a transitional state to the state that follows.
func (f *regionResources) completeTransitions() {
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

// evolve makes one random change.
func (f *regionResources) evolve(r *rand.Rand) {
	now := f.aws.resourceTime().Truncate(time.Second)
	f.mu.Lock()
	var stable []*instance
	for _, i := range f.instances {
		if i.state == running || i.state == stopped {
			stable = append(stable, i)
		}
	}
	change := r.IntN(10)
	if len(stable) == 0 || change == 0 {
		f.mu.Unlock()
		f.launch(1, now)
		return
	}
	defer f.mu.Unlock()
	i := pick(r, stable)
	switch {
	case change == 1 && len(stable) > 2:
		i.terminate(now)
	case change <= 4:
		i.retag("last-patched", now.Format(time.DateOnly)+" #"+strconv.Itoa(r.IntN(1000)))
	case i.state == running:
		i.stop(now)
	default:
		i.start(now)
	}
}

// id returns a resource's id: "i-0123456789abcdef0". With an empty prefix it is "-" and the seventeen digits.
func (f *regionResources) id(prefix, kind string, n int) string {
	return prefix + "-0" + hex.EncodeToString(f.aws.derive("id", f.owner, f.region, kind, strconv.Itoa(n)))[:16]
}

func uuid(b []byte) string {
	h := hex.EncodeToString(b[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func dnsSuffix(partition string) string {
	p, _ := record.PartitionNamed(partition)
	return p.DNSSuffix
}

// publicIP returns an address of the three blocks that RFC 5737 reserves for examples, so they repeat among many
// instances.
func publicIP(r *rand.Rand) string {
	return pick(r, []string{"192.0.2.", "198.51.100.", "203.0.113."}) + strconv.Itoa(1+r.IntN(254))
}

func (f *regionResources) privateName(ip string) string {
	name := "ip-" + strings.ReplaceAll(ip, ".", "-")
	if f.region == "us-east-1" {
		return name + ".ec2.internal"
	}
	return name + "." + f.region + ".compute.internal"
}

func (f *regionResources) publicName(ip string) string {
	if ip == "" {
		return ""
	}
	name := "ec2-" + strings.ReplaceAll(ip, ".", "-")
	if f.region == "us-east-1" {
		return name + ".compute-1." + f.dnsSuffix
	}
	return name + "." + f.region + ".compute." + f.dnsSuffix
}

func (f *regionResources) arn(resource string) string {
	return fmt.Sprintf("arn:%s:ec2:%s:%s:%s", f.partition, f.region, f.owner, resource)
}
