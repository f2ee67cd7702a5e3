package awsfake

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// born is a day before which every instance of a new fleet was launched. It is fixed, so that a seed says all.
var born = time.Date(2025, 9, 1, 0, 0, 0, 0, time.UTC)

// A state is an instance's, by EC2's number for it.
type state int

const (
	pending      state = 0
	running      state = 16
	shuttingDown state = 32
	terminated   state = 48
	stopping     state = 64
	stopped      state = 80
)

func (s state) String() string {
	switch s {
	case pending:
		return "pending"
	case running:
		return "running"
	case shuttingDown:
		return "shutting-down"
	case terminated:
		return "terminated"
	case stopping:
		return "stopping"
	}
	return "stopped"
}

type reservation struct {
	*resource
	name      string
	requester string // of those that a service launched
	instances []*instance
}

// An instance holds what differs from one to the next and what may change.
type instance struct {
	tagged
	f           *fleet
	reservation *reservation
	n           int
	kind        machine
	os          system
	image       string
	subnet      *subnet
	groups      []*group
	state       state
	index       int // in its launch
	at          time.Time
	ended       time.Time // when it was stopped or terminated
	usageSince  time.Time
	ip          string
	public      string // "" for none
	address     *address
	mac         string
	volumes     []*volume
	nic         *nic
	key         string
	profile     string
	token       string
	spot        string
	monitored   bool
}

type machine struct {
	name           string
	arch           string
	cores, threads int
	nitro          bool
}

// machines is a mix of generations.
var machines = []machine{
	{"t3.micro", "x86_64", 1, 2, true}, {"t3.large", "x86_64", 1, 2, true}, {"m5.xlarge", "x86_64", 2, 2, true}, {"m6i.2xlarge", "x86_64", 4, 2, true},
	{"c7g.large", "arm64", 2, 1, true}, {"m7g.xlarge", "arm64", 4, 1, true}, {"r6i.4xlarge", "x86_64", 8, 2, true}, {"t4g.small", "arm64", 2, 1, true},
	{"c5.large", "x86_64", 1, 2, true}, {"m4.large", "x86_64", 1, 2, false}, {"t2.medium", "x86_64", 2, 1, false},
}

// A system is what runs on an instance, in EC2's billing words.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/billing-info-fields.html
type system struct{ platform, details, usage, device string }

var (
	linux   = system{"", "Linux/UNIX", "RunInstances", "/dev/xvda"}
	redHat  = system{"", "Red Hat Enterprise Linux", "RunInstances:0010", "/dev/sda1"}
	windows = system{"windows", "Windows", "RunInstances:0002", "/dev/sda1"}
)

var (
	trades = []string{"web", "api", "worker", "db", "cache", "batch", "build", "gateway", "search", "queue"}
	teams  = []string{"platform", "payments", "data & insight", "search", "mobile", "séc-ops", "基础设施"}
	// notes hold what XML, JSON and line protocols must escape, and what is not ASCII.
	notes = []string{
		`keep <always> & "never" stop`, "owner's box", "größer, schöner", "生产环境 数据库", "naïve café ☕", "a=b, c=d", `C:\data\x`,
		"  two  blanks  ", "]]> not the end", "&amp; is not an ampersand", "tab\tinside", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🚀",
	}
)

// launch adds n instances, a few to a reservation.
func (f *fleet) launch(n int, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n > 0 {
		r := f.random("launch", strconv.Itoa(f.launched))
		size := 1
		if r.IntN(4) == 0 {
			size = 1 + r.IntN(4)
		}
		size = min(size, n)
		n -= size
		f.reserve(r, size, at)
	}
}

func (f *fleet) reserve(r *rand.Rand, size int, at time.Time) {
	first := f.launched + 1
	res := &reservation{resource: new(resource), name: f.id("r", "reservation", first)}
	trade := one(r, trades)
	scaled := r.IntN(4) == 0
	if scaled {
		res.requester = "940372691376" // Auto Scaling's, as users see it
	}
	when := at
	if at.Equal(born) {
		when = born.Add(-time.Duration(r.IntN(180*24*3600)) * time.Second)
	}
	for k := range size {
		f.launched++
		i := &instance{f: f, reservation: res, n: f.launched, index: k, at: when, usageSince: when, state: running}
		i.make(r, trade, scaled)
		if at.Equal(born) {
			if r.IntN(6) == 0 {
				i.state, i.public, i.ended = stopped, "", when.Add(time.Duration(1+r.IntN(72))*time.Hour)
			}
		} else {
			i.state = pending
		}
		res.instances = append(res.instances, i)
		f.instances = append(f.instances, i)
		i.attach(r)
	}
	res.render = res.write
	f.add("DescribeInstances", res.resource)
	f.touchReservation(res)
}

// make fills in what an instance is born with.
func (i *instance) make(r *rand.Rand, trade string, scaled bool) {
	f := i.f
	i.id, i.tagged.kind = f.id("i", "instance", i.n), "instance"
	i.kind, i.os = one(r, machines), linux
	if i.kind.arch == "x86_64" {
		i.os = one(r, []system{linux, linux, linux, redHat, windows})
	}
	i.image = f.net.images[i.kind.arch]
	i.subnet = one(r, f.net.subnets)
	i.groups = []*group{f.net.groups[1]}
	if r.IntN(3) == 0 {
		i.groups = append(i.groups, f.net.groups[2])
	}
	i.ip = i.subnet.address(i.n)
	i.mac = fmt.Sprintf("0a:%02x:%02x:%02x:%02x:%02x", r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(256))
	if i.subnet.public {
		i.public = publicIP(r)
	}
	if r.IntN(3) > 0 {
		i.key = one(r, f.net.keys)
	}
	if r.IntN(2) == 0 {
		i.profile = trade + "-instance"
	}
	i.monitored = r.IntN(5) == 0
	i.token = uuid(f.aws.derive("token", i.id))
	if r.IntN(12) == 0 {
		i.spot = "sir-" + f.id("", "spot", i.n)[1:9]
	}
	if r.IntN(15) > 0 { // some have no name
		i.tags = append(i.tags, tag{"Name", fmt.Sprintf("%s-%d", trade, i.n)})
	}
	i.tags = append(i.tags, tag{"env", one(r, []string{"prod", "prod", "staging", "dev"})}, tag{"team", one(r, teams)})
	if r.IntN(3) == 0 {
		i.tags = append(i.tags, tag{"note", one(r, notes)})
	}
	if r.IntN(6) == 0 {
		i.tags = append(i.tags, tag{"keep", ""})
	}
	if scaled {
		i.tags = append(i.tags, tag{"aws:autoscaling:groupName", trade + "-asg"}, tag{"aws:ec2launchtemplate:id", f.net.template})
	}
}

// attach makes what hangs on an instance: disks, an interface, sometimes an elastic address.
func (i *instance) attach(r *rand.Rand) {
	i.nic = i.f.addNIC(i)
	size := one(r, []int{8, 20, 50, 100})
	i.volumes = append(i.volumes, i.f.addVolume(r, i, i.os.device, size, true))
	for d := range r.IntN(3) {
		i.volumes = append(i.volumes, i.f.addVolume(r, i, "/dev/sd"+string(rune('f'+d)), 100*(1+r.IntN(5)), false))
	}
	if i.subnet.public && r.IntN(4) == 0 {
		i.address = i.f.addAddress(r, i)
		i.public = i.address.ip
	}
}

func (f *fleet) touchReservation(r *reservation) {
	r.count, r.ids, r.tagged = len(r.instances), nil, nil
	for _, i := range r.instances {
		r.ids = append(r.ids, i.id)
		r.resource.tagged = append(r.resource.tagged, &i.tagged)
	}
	f.touch("DescribeInstances", r.resource)
}

// touch makes the instance and its interface be rendered anew. The caller holds f.mu, here and below.
func (i *instance) touch() {
	i.f.touchReservation(i.reservation)
	if i.nic != nil {
		i.f.touch("DescribeNetworkInterfaces", i.nic.resource)
	}
}

func (i *instance) retag(key, value string) {
	i.tags = slices.Clone(i.tags)
	if at := slices.IndexFunc(i.tags, func(t tag) bool { return t.key == key }); at >= 0 {
		i.tags[at].value = value
	} else {
		i.tags = append(i.tags, tag{key, value})
	}
	i.touch()
}

func (i *instance) stop(at time.Time) {
	i.state, i.ended = stopping, at
	if i.address == nil {
		i.public = ""
	}
	i.touch()
}

func (i *instance) start(at time.Time) {
	i.state, i.at, i.ended = pending, at, time.Time{}
	if i.subnet.public && i.address == nil {
		i.public = publicIP(i.f.random("start", i.id, at.String()))
	}
	i.touch()
}

func (i *instance) terminate(at time.Time) {
	i.state, i.ended, i.public = shuttingDown, at, ""
	for _, v := range i.volumes {
		if v.root {
			i.f.drop("DescribeVolumes", v.resource)
			continue
		}
		v.on = nil
		i.f.touch("DescribeVolumes", v.resource)
	}
	i.volumes = nil
	i.f.drop("DescribeNetworkInterfaces", i.nic.resource)
	i.nic = nil
	if i.address != nil {
		i.address.on = nil
		i.f.touch("DescribeAddresses", i.address.resource)
		i.address = nil
	}
	i.touch()
}

func (r *reservation) write(m *markup) {
	m.text("reservationId", r.name)
	m.text("ownerId", r.instances[0].f.owner)
	m.list("groupSet", 0, nil)
	m.list("instancesSet", len(r.instances), func(i int) { r.instances[i].write(m) })
	if r.requester != "" {
		m.text("requesterId", r.requester)
	}
}

const userShutdown = "Client.UserInitiatedShutdown"

// write is the instance as DescribeInstances shows it.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html
func (i *instance) write(m *markup) {
	f, here := i.f, i.state != shuttingDown && i.state != terminated
	m.text("instanceId", i.id)
	m.text("imageId", i.image)
	m.in("instanceState", func() {
		m.int("code", int(i.state))
		m.text("name", i.state.String())
	})
	if here {
		m.text("privateDnsName", f.privateName(i.ip))
	} else {
		m.text("privateDnsName", "")
	}
	m.text("dnsName", f.publicName(i.public))
	if i.ended.IsZero() {
		m.text("reason", "")
	} else {
		m.text("reason", "User initiated ("+i.ended.UTC().Format("2006-01-02 15:04:05 MST")+")")
	}
	if i.key != "" {
		m.text("keyName", i.key)
	}
	m.int("amiLaunchIndex", i.index)
	m.list("productCodes", 0, nil)
	m.text("instanceType", i.kind.name)
	m.text("launchTime", stamp3(i.at))
	m.in("placement", func() {
		m.text("availabilityZone", i.subnet.zone)
		m.text("availabilityZoneId", i.subnet.zoneID)
		m.text("groupName", "")
		m.text("tenancy", "default")
	})
	if i.os.platform != "" {
		m.text("platform", i.os.platform)
	}
	m.in("monitoring", func() { m.text("state", map[bool]string{true: "enabled", false: "disabled"}[i.monitored]) })
	if here {
		m.text("subnetId", i.subnet.id)
		m.text("vpcId", f.net.vpc)
		m.text("privateIpAddress", i.ip)
		if i.public != "" {
			m.text("ipAddress", i.public)
		}
		m.bool("sourceDestCheck", true)
	}
	groups := i.groups
	if !here {
		groups = nil
	}
	m.groups(groups)
	if !i.ended.IsZero() {
		m.in("stateReason", func() {
			m.text("code", userShutdown)
			m.text("message", userShutdown+": User initiated shutdown")
		})
	}
	m.text("architecture", i.kind.arch)
	m.text("rootDeviceType", "ebs")
	m.text("rootDeviceName", i.os.device)
	m.list("blockDeviceMapping", len(i.volumes), func(k int) {
		v := i.volumes[k]
		m.text("deviceName", v.device)
		m.in("ebs", func() {
			m.text("volumeId", v.id)
			m.text("status", "attached")
			m.text("attachTime", stamp3(v.attached))
			m.bool("deleteOnTermination", v.root)
			m.in("operator", func() { m.bool("managed", false) })
		})
	})
	m.text("virtualizationType", "hvm")
	m.text("clientToken", i.token)
	m.tags(i.tags)
	m.text("hypervisor", "xen") // AWS says so for Nitro too
	if i.spot != "" {
		m.text("instanceLifecycle", "spot")
		m.text("spotInstanceRequestId", i.spot)
	}
	m.in("networkInterfaceSet", func() {
		if i.nic != nil {
			m.in("item", func() { i.nic.inInstance(m) })
		}
	})
	if i.profile != "" && here {
		m.in("iamInstanceProfile", func() {
			m.text("arn", "arn:"+f.partition+":iam::"+f.owner+":instance-profile/"+i.profile)
			m.text("id", f.aws.keyID("AIPA", f.owner, i.profile)+"X")
		})
	}
	m.bool("ebsOptimized", i.kind.nitro && i.kind.cores > 1)
	m.bool("enaSupport", i.kind.nitro)
	m.in("cpuOptions", func() {
		m.int("coreCount", i.kind.cores)
		m.int("threadsPerCore", i.kind.threads)
	})
	m.in("capacityReservationSpecification", func() { m.text("capacityReservationPreference", "open") })
	m.in("hibernationOptions", func() { m.bool("configured", false) })
	m.in("enclaveOptions", func() { m.bool("enabled", false) })
	m.in("metadataOptions", func() {
		m.text("state", "applied")
		m.text("httpTokens", map[bool]string{true: "required", false: "optional"}[i.kind.nitro])
		m.int("httpPutResponseHopLimit", 2)
		m.text("httpEndpoint", "enabled")
		m.text("httpProtocolIpv6", "disabled")
		m.text("instanceMetadataTags", "disabled")
	})
	m.text("platformDetails", i.os.details)
	m.text("usageOperation", i.os.usage)
	m.text("usageOperationUpdateTime", stamp3(i.usageSince))
	if here {
		m.in("privateDnsNameOptions", func() {
			m.text("hostnameType", "ip-name")
			m.bool("enableResourceNameDnsARecord", false)
			m.bool("enableResourceNameDnsAAAARecord", false)
		})
	}
	m.in("maintenanceOptions", func() {
		m.text("autoRecovery", "default")
		m.text("rebootMigration", "default")
	})
	if i.kind.nitro && i.kind.arch == "x86_64" {
		m.text("bootMode", "uefi-preferred")
	}
	m.text("currentInstanceBootMode", map[bool]string{true: "uefi", false: "legacy-bios"}[i.kind.nitro])
	m.in("networkPerformanceOptions", func() { m.text("bandwidthWeighting", "default") })
	m.in("operator", func() { m.bool("managed", false) })
}

// stamp3 is a time as EC2 writes most of them.
func stamp3(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
