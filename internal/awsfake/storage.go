package awsfake

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// volume is an EBS volume.
type volume struct {
	*resource
	instance  *instance // nil: available
	subnet    *subnet
	device    string
	root      bool // deleted with its instance
	size      int
	kind      string
	encrypted bool // encrypted
	created   time.Time
	attached  time.Time
	snapshot  string
	tags      []tag
}

func (f *regionResources) addVolume(r *rand.Rand, i *instance, device string, size int, root bool) *volume {
	n := i.number*8 + len(i.volumes)
	v := &volume{
		instance: i, subnet: i.subnet, device: device, root: root, size: size,
		created: i.launchedAt, attached: i.launchedAt.Add(time.Second),
		kind: pick(r, []string{"gp3", "gp3", "gp2", "io2"}), encrypted: r.IntN(2) == 0,
	}
	if root {
		v.snapshot = f.network.snapshots[i.instanceType.arch]
	}
	id := f.id("vol", "volume", n)
	t := &tagged{id: id, kind: "volume"}
	if r.IntN(2) == 0 {
		t.tags = []tag{{"Name", "disk " + device + " of #" + strconv.Itoa(i.number)}}
	}
	v.tags = t.tags
	v.resource = f.add("DescribeVolumes", &resource{id: id, tagged: []*tagged{t}, render: v.write(f)})
	if r.IntN(5) == 0 {
		f.addSnapshot(
			f.id("snap", "snapshot", n), id, fmt.Sprintf("nightly of %s <%s>", id, device), v.size, v.encrypted,
			v.created.Add(24*time.Hour),
		)
	}
	return v
}

func (v *volume) write(f *regionResources) func(*xmlWriter) {
	return func(m *xmlWriter) {
		m.text("volumeId", v.id)
		m.int("size", v.size)
		m.text("snapshotId", v.snapshot)
		m.text("availabilityZone", v.subnet.zone)
		m.text("availabilityZoneId", v.subnet.zoneID)
		m.text("status", map[bool]string{true: "in-use", false: "available"}[v.instance != nil])
		m.text("createTime", formatTimeMillis(v.created))
		m.element("attachmentSet", func() {
			if v.instance != nil {
				m.element("item", func() {
					m.text("volumeId", v.id)
					m.text("instanceId", v.instance.id)
					m.text("device", v.device)
					m.text("status", "attached")
					m.text("attachTime", formatTimeMillis(v.attached))
					m.bool("deleteOnTermination", v.root)
				})
			}
		})
		if len(v.tags) > 0 {
			m.tags(v.tags)
		}
		m.text("volumeType", v.kind)
		m.int("iops", max(3000, 3*v.size))
		if v.kind == "gp3" {
			m.int("throughput", 125)
		}
		m.bool("encrypted", v.encrypted)
		if v.encrypted {
			m.text("kmsKeyId", f.kmsKey())
		}
		m.bool("multiAttachEnabled", false)
		m.element("operator", func() { m.bool("managed", false) })
	}
}

func (f *regionResources) kmsKey() string {
	id := uuid(f.aws.derive("kms", f.owner, f.region))
	return fmt.Sprintf("arn:%s:kms:%s:%s:key/%s", f.partition, f.region, f.owner, id)
}

func (f *regionResources) addSnapshot(id, volume, description string, size int, encrypted bool, at time.Time) {
	t := &tagged{id: id, kind: "snapshot", tags: []tag{{"retain", "30d"}}}
	f.add("DescribeSnapshots", &resource{id: id, tagged: []*tagged{t}, render: func(m *xmlWriter) {
		m.text("snapshotId", id)
		m.text("volumeId", volume)
		m.text("status", "completed")
		m.text("startTime", formatTimeMillis(at))
		m.text("completionTime", formatTimeMillis(at.Add(7*time.Minute)))
		m.text("progress", "100%")
		m.text("ownerId", f.owner)
		m.int("volumeSize", size)
		m.text("description", description)
		m.bool("encrypted", encrypted)
		if encrypted {
			m.text("kmsKeyId", f.kmsKey())
		}
		m.text("storageTier", "standard")
		m.tags(t.tags)
	}})
}

// addImage adds an image that the account owns, with its snapshot.
func (f *regionResources) addImage(n int, arch string) {
	id, snap := f.id("ami", "image", n), f.id("snap", "image", n)
	f.network.images[arch], f.network.snapshots[arch] = id, snap
	f.addSnapshot(snap, "vol-ffffffff", "Created by CreateImage for "+id, 8, false, launchedBefore.AddDate(0, -1, 0))
	name := "base-" + arch + "-2025.08"
	t := &tagged{id: id, kind: "image", tags: []tag{{"Name", name}}}
	render := f.image(id, snap, arch, f.owner, name, t.tags)
	f.add("DescribeImages", &resource{id: id, tagged: []*tagged{t}, render: render})
}

// addPublicImage adds one image of Amazon's. EC2 lists thousands of them unless the request asks for the account's own.
func (f *regionResources) addPublicImage() {
	id := f.id("ami", "public image", 1)
	snap := f.id("snap", "public image", 1)
	render := f.image(id, snap, "x86_64", "137112412989", "al2023-ami-2025", nil)
	f.add("DescribeImages", &resource{id: id, public: true, render: render})
}

func (f *regionResources) image(id, snap, arch, owner, name string, tags []tag) func(*xmlWriter) {
	return func(m *xmlWriter) {
		m.text("imageId", id)
		m.text("imageLocation", owner+"/"+name)
		m.text("imageState", "available")
		m.text("imageOwnerId", owner)
		if owner != f.owner {
			m.text("imageOwnerAlias", "amazon")
		}
		m.text("creationDate", formatTimeMillis(launchedBefore.AddDate(0, -1, 0)))
		m.bool("isPublic", owner != f.owner)
		m.text("architecture", arch)
		m.text("imageType", "machine")
		m.text("name", name)
		m.text("description", "hardened base & agents")
		m.text("rootDeviceType", "ebs")
		m.text("rootDeviceName", linux.device)
		m.list("blockDeviceMapping", 1, func(int) {
			m.text("deviceName", linux.device)
			m.element("ebs", func() {
				m.text("snapshotId", snap)
				m.int("volumeSize", 8)
				m.bool("deleteOnTermination", true)
				m.text("volumeType", "gp3")
				m.int("iops", 3000)
				m.int("throughput", 125)
				m.bool("encrypted", false)
			})
		})
		m.text("virtualizationType", "hvm")
		m.tags(tags)
		m.text("hypervisor", "xen")
		m.bool("enaSupport", true)
		m.text("sriovNetSupport", "simple")
		m.text("bootMode", "uefi-preferred")
		m.text("imdsSupport", "v2.0")
		m.text("platformDetails", linux.details)
		m.text("usageOperation", linux.usage)
		m.text("deregistrationProtection", "disabled")
	}
}
