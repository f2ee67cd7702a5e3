package awsfake

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// launchedBefore is later than the launch of every instance of a new region. It is fixed, so that the same seed gives
// the same resources.
var launchedBefore = time.Date(2025, 9, 1, 0, 0, 0, 0, time.UTC)

// A state is the state of an instance, as EC2's number.
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
	reservationID string
	requester     string // the service that launched it, or ""
	instances     []*instance
}

// An instance holds the properties that differ between instances or may change.
type instance struct {
	tagged
	region       *regionResources
	reservation  *reservation
	number       int
	instanceType instanceType
	os           system
	image        string
	subnet       *subnet
	groups       []*group
	state        state
	launchIndex  int // in its reservation
	launchedAt   time.Time
	endedAt      time.Time // when it was stopped or terminated
	usageSince   time.Time
	privateIP    string
	publicIP     string // "" for none
	address      *address
	mac          string
	volumes      []*volume
	nic          *nic
	key          string
	profile      string
	clientToken  string
	spotRequest  string
	monitored    bool
	group        string // of Auto Scaling; "" for none
}

type instanceType struct {
	name           string
	arch           string
	cores, threads int
	nitro          bool
}

// instanceTypes are types of several generations.
var instanceTypes = []instanceType{
	{
		"t3.micro",
		"x86_64",
		1,
		2,
		true,
	}, {"t3.large", "x86_64", 1, 2, true}, {"m5.xlarge", "x86_64", 2, 2, true}, {"m6i.2xlarge", "x86_64", 4, 2, true},
	{
		"c7g.large",
		"arm64",
		2,
		1,
		true,
	}, {"m7g.xlarge", "arm64", 4, 1, true}, {"r6i.4xlarge", "x86_64", 8, 2, true}, {"t4g.small", "arm64", 2, 1, true},
	{"c5.large", "x86_64", 1, 2, true}, {"m4.large", "x86_64", 1, 2, false}, {"t2.medium", "x86_64", 2, 1, false},
}

// A system is the operating system of an instance, as EC2's billing describes it.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/billing-info-fields.html
type system struct{ platform, details, usage, device string }

var (
	linux   = system{"", "Linux/UNIX", "RunInstances", "/dev/xvda"}
	redHat  = system{"", "Red Hat Enterprise Linux", "RunInstances:0010", "/dev/sda1"}
	windows = system{"windows", "Windows", "RunInstances:0002", "/dev/sda1"}
)

var (
	workloads = []string{"web", "api", "worker", "db", "cache", "batch", "build", "gateway", "search", "queue"}
	teams     = []string{"platform", "payments", "data & insight", "search", "mobile", "séc-ops", "基础设施"}
	// notes contain characters that XML, JSON and line protocols must escape, and characters that are not ASCII.
	notes = []string{
		`keep <always> & "never" stop`, "owner's box", "größer, schöner", "生产环境 数据库", "naïve café ☕", "a=b, c=d", `C:\data\x`,
		"  two  blanks  ", "]]> not the end", "&amp; is not an ampersand", "tab\tinside", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🚀",
	}
)

// launch adds n instances, in reservations of one to four.
func (f *regionResources) launch(n int, at time.Time) {
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
		f.launchReservation(r, size, at)
	}
}

func (f *regionResources) launchReservation(r *rand.Rand, size int, at time.Time) {
	first := f.launched + 1
	res := &reservation{resource: new(resource), reservationID: f.id("r", "reservation", first)}
	workload := pick(r, workloads)
	scaled := r.IntN(4) == 0
	if scaled {
		res.requester = "940372691376" // the requester id of Auto Scaling
	}
	when := at
	if at.Equal(launchedBefore) {
		when = launchedBefore.Add(-time.Duration(r.IntN(180*24*3600)) * time.Second)
	}
	for k := range size {
		f.launched++
		i := &instance{
			region:      f,
			reservation: res,
			number:      f.launched,
			launchIndex: k,
			launchedAt:  when,
			usageSince:  when,
			state:       running,
		}
		i.initialize(r, workload, scaled)
		if at.Equal(launchedBefore) {
			if r.IntN(6) == 0 {
				i.state, i.publicIP, i.endedAt = stopped, "", when.Add(time.Duration(1+r.IntN(72))*time.Hour)
			}
		} else {
			i.state = pending
		}
		res.instances = append(res.instances, i)
		f.instances = append(f.instances, i)
		i.addAttachments(r)
	}
	res.render = res.write
	f.add("DescribeInstances", res.resource)
	f.invalidateReservation(res)
}

// initialize sets the properties that an instance has from its launch on.
func (i *instance) initialize(r *rand.Rand, workload string, scaled bool) {
	f := i.region
	i.id, i.tagged.kind = f.id("i", "instance", i.number), "instance"
	i.instanceType, i.os = pick(r, instanceTypes), linux
	if i.instanceType.arch == "x86_64" {
		i.os = pick(r, []system{linux, linux, linux, redHat, windows})
	}
	i.image = f.network.images[i.instanceType.arch]
	i.subnet = pick(r, f.network.subnets)
	i.groups = []*group{f.network.groups[1]}
	if r.IntN(3) == 0 {
		i.groups = append(i.groups, f.network.groups[2])
	}
	i.privateIP = i.subnet.address(i.number)
	i.mac = fmt.Sprintf("0a:%02x:%02x:%02x:%02x:%02x", r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(256))
	if i.subnet.public {
		i.publicIP = publicIP(r)
	}
	if r.IntN(3) > 0 {
		i.key = pick(r, f.network.keys)
	}
	if r.IntN(2) == 0 {
		i.profile = workload + "-instance"
	}
	i.monitored = r.IntN(5) == 0
	i.clientToken = uuid(f.aws.derive("token", i.id))
	if r.IntN(12) == 0 {
		i.spotRequest = "sir-" + f.id("", "spot", i.number)[1:9]
	}
	if r.IntN(15) > 0 { // a few have no name
		i.tags = append(i.tags, tag{"Name", fmt.Sprintf("%s-%d", workload, i.number)})
	}
	i.tags = append(i.tags, tag{"env", pick(r, []string{"prod", "prod", "staging", "dev"})}, tag{"team", pick(r, teams)})
	if r.IntN(3) == 0 {
		i.tags = append(i.tags, tag{"note", pick(r, notes)})
	}
	if r.IntN(6) == 0 {
		i.tags = append(i.tags, tag{"keep", ""})
	}
	if scaled {
		i.group = workload + "-asg"
		f.addGroup(i.group)
		i.tags = append(
			i.tags,
			tag{"aws:autoscaling:groupName", i.group},
			tag{"aws:ec2launchtemplate:id", f.network.template},
		)
	}
}

// addAttachments adds an instance's volumes, its interface and, for a few, an elastic address.
func (i *instance) addAttachments(r *rand.Rand) {
	i.nic = i.region.addNIC(i)
	size := pick(r, []int{8, 20, 50, 100})
	i.volumes = append(i.volumes, i.region.addVolume(r, i, i.os.device, size, true))
	for d := range r.IntN(3) {
		i.volumes = append(i.volumes, i.region.addVolume(r, i, "/dev/sd"+string(rune('f'+d)), 100*(1+r.IntN(5)), false))
	}
	if i.subnet.public && r.IntN(4) == 0 {
		i.address = i.region.addAddress(r, i)
		i.publicIP = i.address.ip
	}
}

func (f *regionResources) invalidateReservation(r *reservation) {
	r.count, r.ids, r.tagged = len(r.instances), nil, nil
	for _, i := range r.instances {
		r.ids = append(r.ids, i.id)
		r.resource.tagged = append(r.resource.tagged, &i.tagged)
	}
	f.invalidate("DescribeInstances", r.resource)
	if r.requester != "" {
		for _, action := range scalingLaunched {
			f.revisions[action]++
		}
	}
}

// invalidate discards what is rendered of the instance and its interface. The caller holds f.mu, here and below.
func (i *instance) invalidate() {
	i.region.invalidateReservation(i.reservation)
	if i.nic != nil {
		i.region.invalidate("DescribeNetworkInterfaces", i.nic.resource)
	}
}

func (i *instance) retag(key, value string) {
	i.tags = slices.Clone(i.tags)
	if at := slices.IndexFunc(i.tags, func(t tag) bool { return t.key == key }); at >= 0 {
		i.tags[at].value = value
	} else {
		i.tags = append(i.tags, tag{key, value})
	}
	i.invalidate()
}

func (i *instance) stop(at time.Time) {
	i.state, i.endedAt = stopping, at
	if i.address == nil {
		i.publicIP = ""
	}
	i.invalidate()
}

func (i *instance) start(at time.Time) {
	i.state, i.launchedAt, i.endedAt = pending, at, time.Time{}
	if i.subnet.public && i.address == nil {
		i.publicIP = publicIP(i.region.random("start", i.id, at.String()))
	}
	i.invalidate()
}

func (i *instance) terminate(at time.Time) {
	i.state, i.endedAt, i.publicIP = shuttingDown, at, ""
	for _, v := range i.volumes {
		if v.root {
			i.region.remove("DescribeVolumes", v.resource)
			continue
		}
		v.instance = nil
		i.region.invalidate("DescribeVolumes", v.resource)
	}
	i.volumes = nil
	i.region.remove("DescribeNetworkInterfaces", i.nic.resource)
	i.nic = nil
	if i.address != nil {
		i.address.instance = nil
		i.region.invalidate("DescribeAddresses", i.address.resource)
		i.address = nil
	}
	i.invalidate()
}

func (r *reservation) write(m *xmlWriter) {
	m.text("reservationId", r.reservationID)
	m.text("ownerId", r.instances[0].region.owner)
	m.list("groupSet", 0, nil)
	m.list("instancesSet", len(r.instances), func(i int) { r.instances[i].write(m) })
	if r.requester != "" {
		m.text("requesterId", r.requester)
	}
}

const userShutdown = "Client.UserInitiatedShutdown"

// write writes the instance as DescribeInstances shows it.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html
func (i *instance) write(m *xmlWriter) {
	f, here := i.region, i.state != shuttingDown && i.state != terminated
	m.text("instanceId", i.id)
	m.text("imageId", i.image)
	m.element("instanceState", func() {
		m.int("code", int(i.state))
		m.text("name", i.state.String())
	})
	if here {
		m.text("privateDnsName", f.privateName(i.privateIP))
	} else {
		m.text("privateDnsName", "")
	}
	m.text("dnsName", f.publicName(i.publicIP))
	if i.endedAt.IsZero() {
		m.text("reason", "")
	} else {
		m.text("reason", "User initiated ("+i.endedAt.UTC().Format("2006-01-02 15:04:05 MST")+")")
	}
	if i.key != "" {
		m.text("keyName", i.key)
	}
	m.int("amiLaunchIndex", i.launchIndex)
	m.list("productCodes", 0, nil)
	m.text("instanceType", i.instanceType.name)
	m.text("launchTime", formatTimeMillis(i.launchedAt))
	m.element("placement", func() {
		m.text("availabilityZone", i.subnet.zone)
		m.text("availabilityZoneId", i.subnet.zoneID)
		m.text("groupName", "")
		m.text("tenancy", "default")
	})
	if i.os.platform != "" {
		m.text("platform", i.os.platform)
	}
	m.element("monitoring", func() { m.text("state", map[bool]string{true: "enabled", false: "disabled"}[i.monitored]) })
	if here {
		m.text("subnetId", i.subnet.id)
		m.text("vpcId", f.network.vpc)
		m.text("privateIpAddress", i.privateIP)
		if i.publicIP != "" {
			m.text("ipAddress", i.publicIP)
		}
		m.bool("sourceDestCheck", true)
	}
	groups := i.groups
	if !here {
		groups = nil
	}
	m.groups(groups)
	if !i.endedAt.IsZero() {
		m.element("stateReason", func() {
			m.text("code", userShutdown)
			m.text("message", userShutdown+": User initiated shutdown")
		})
	}
	m.text("architecture", i.instanceType.arch)
	m.text("rootDeviceType", "ebs")
	m.text("rootDeviceName", i.os.device)
	m.list("blockDeviceMapping", len(i.volumes), func(k int) {
		v := i.volumes[k]
		m.text("deviceName", v.device)
		m.element("ebs", func() {
			m.text("volumeId", v.id)
			m.text("status", "attached")
			m.text("attachTime", formatTimeMillis(v.attached))
			m.bool("deleteOnTermination", v.root)
			m.element("operator", func() { m.bool("managed", false) })
		})
	})
	m.text("virtualizationType", "hvm")
	m.text("clientToken", i.clientToken)
	m.tags(i.tags)
	m.text("hypervisor", "xen") // AWS reports this for Nitro, too
	if i.spotRequest != "" {
		m.text("instanceLifecycle", "spot")
		m.text("spotInstanceRequestId", i.spotRequest)
	}
	m.element("networkInterfaceSet", func() {
		if i.nic != nil {
			m.element("item", func() { i.nic.inInstance(m) })
		}
	})
	if i.profile != "" && here {
		m.element("iamInstanceProfile", func() {
			m.text("arn", "arn:"+f.partition+":iam::"+f.owner+":instance-profile/"+i.profile)
			m.text("id", f.aws.keyID("AIPA", f.owner, i.profile)+"X")
		})
	}
	m.bool("ebsOptimized", i.instanceType.nitro && i.instanceType.cores > 1)
	m.bool("enaSupport", i.instanceType.nitro)
	m.element("cpuOptions", func() {
		m.int("coreCount", i.instanceType.cores)
		m.int("threadsPerCore", i.instanceType.threads)
	})
	m.element("capacityReservationSpecification", func() { m.text("capacityReservationPreference", "open") })
	m.element("hibernationOptions", func() { m.bool("configured", false) })
	m.element("enclaveOptions", func() { m.bool("enabled", false) })
	m.element("metadataOptions", func() {
		m.text("state", "applied")
		m.text("httpTokens", map[bool]string{true: "required", false: "optional"}[i.instanceType.nitro])
		m.int("httpPutResponseHopLimit", 2)
		m.text("httpEndpoint", "enabled")
		m.text("httpProtocolIpv6", "disabled")
		m.text("instanceMetadataTags", "disabled")
	})
	m.text("platformDetails", i.os.details)
	m.text("usageOperation", i.os.usage)
	m.text("usageOperationUpdateTime", formatTimeMillis(i.usageSince))
	if here {
		m.element("privateDnsNameOptions", func() {
			m.text("hostnameType", "ip-name")
			m.bool("enableResourceNameDnsARecord", false)
			m.bool("enableResourceNameDnsAAAARecord", false)
		})
	}
	m.element("maintenanceOptions", func() {
		m.text("autoRecovery", "default")
		m.text("rebootMigration", "default")
	})
	if i.instanceType.nitro && i.instanceType.arch == "x86_64" {
		m.text("bootMode", "uefi-preferred")
	}
	m.text("currentInstanceBootMode", map[bool]string{true: "uefi", false: "legacy-bios"}[i.instanceType.nitro])
	m.element("networkPerformanceOptions", func() { m.text("bandwidthWeighting", "default") })
	m.element("operator", func() { m.bool("managed", false) })
}

// formatTimeMillis formats a time as EC2 does in most responses.
func formatTimeMillis(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
