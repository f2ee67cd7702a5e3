package awsfake

import (
	"bytes"
	"encoding/xml"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// describedResources is what the lists show, as far as resources name each other.
type describedResources struct {
	Reservations []struct {
		ReservationID string `xml:"reservationId"`
		OwnerID       string `xml:"ownerId"`
		RequesterID   string `xml:"requesterId"`
		Instances     []struct {
			ID      string   `xml:"instanceId"`
			Image   string   `xml:"imageId"`
			State   string   `xml:"instanceState>name"`
			Subnet  string   `xml:"subnetId"`
			VPC     string   `xml:"vpcId"`
			IP      string   `xml:"privateIpAddress"`
			Public  string   `xml:"ipAddress"`
			Zone    string   `xml:"placement>availabilityZone"`
			Reason  string   `xml:"stateReason>code"`
			Groups  []string `xml:"groupSet>item>groupId"`
			Volumes []string `xml:"blockDeviceMapping>item>ebs>volumeId"`
			NICs    []string `xml:"networkInterfaceSet>item>networkInterfaceId"`
			Tags    []struct {
				Key   string `xml:"key"`
				Value string `xml:"value"`
			} `xml:"tagSet>item"`
		} `xml:"instancesSet>item"`
	} `xml:"reservationSet>item"`
	Volumes []struct {
		ID   string `xml:"volumeId"`
		Zone string `xml:"availabilityZone"`
		On   string `xml:"attachmentSet>item>instanceId"`
		Snap string `xml:"snapshotId"`
	} `xml:"volumeSet>item"`
	NICs []struct {
		ID     string `xml:"networkInterfaceId"`
		On     string `xml:"attachment>instanceId"`
		IP     string `xml:"privateIpAddress"`
		Public string `xml:"association>publicIp"`
		Subnet string `xml:"subnetId"`
	} `xml:"networkInterfaceSet>item"`
	Addresses []struct {
		IP  string `xml:"publicIp"`
		On  string `xml:"instanceId"`
		NIC string `xml:"networkInterfaceId"`
	} `xml:"addressesSet>item"`
	Subnets []struct {
		ID   string `xml:"subnetId"`
		VPC  string `xml:"vpcId"`
		Zone string `xml:"availabilityZone"`
	} `xml:"subnetSet>item"`
	Tags []struct {
		ID    string `xml:"resourceId"`
		Key   string `xml:"key"`
		Value string `xml:"value"`
	} `xml:"tagSet>item"`
	Groups []string `xml:"securityGroupInfo>item>groupId"`
	Images []string `xml:"imagesSet>item>imageId"`
	Snaps  []string `xml:"snapshotSet>item>snapshotId"`
}

func (x *testClient) describeResources() *describedResources {
	x.t.Helper()
	l := new(describedResources)
	for _, action := range []string{
		"Instances", "Volumes", "NetworkInterfaces", "Addresses", "Subnets", "Tags", "SecurityGroups", "Images",
		"Snapshots",
	} {
		r := x.ec2("us-east-1", longTerm(x.key), "Describe"+action)
		if err := xml.Unmarshal([]byte(r.body), l); err != nil || r.status != 200 {
			x.t.Fatalf("%s: %+v, %v", action, r, err)
		}
	}
	return l
}

// checkReferences checks that every resource that another refers to exists and refers back.
func (l *describedResources) checkReferences(t *testing.T) {
	t.Helper()
	volumes, nics, subnets := map[string]int{}, map[string]int{}, map[string]int{}
	for i, v := range l.Volumes {
		volumes[v.ID] = i
		if v.Snap != "" && !slices.Contains(l.Snaps, v.Snap) {
			t.Errorf("%s: snapshot %s does not exist", v.ID, v.Snap)
		}
	}
	for i, n := range l.NICs {
		nics[n.ID] = i
	}
	for i, s := range l.Subnets {
		subnets[s.ID] = i
	}
	tags := map[string]map[string]string{}
	for _, g := range l.Tags {
		if tags[g.ID] == nil {
			tags[g.ID] = map[string]string{}
		}
		tags[g.ID][g.Key] = g.Value
	}
	attachedVolumes, attachedNICs := 0, 0
	ips := map[string]string{}
	for _, r := range l.Reservations {
		if len(r.Instances) == 0 {
			t.Errorf("%s is empty", r.ReservationID)
		}
		for _, i := range r.Instances {
			own := map[string]string{}
			for _, g := range i.Tags {
				own[g.Key] = g.Value
			}
			if !maps.Equal(own, tags[i.ID]) {
				t.Errorf("%s has tags %v, DescribeTags says %v", i.ID, own, tags[i.ID])
			}
			if i.State == "terminated" || i.State == "shutting-down" {
				if i.Subnet+i.VPC+i.IP+i.Public != "" || len(i.Volumes)+len(i.NICs)+len(i.Groups) != 0 || i.Reason == "" {
					t.Errorf("%s is %s and has %+v", i.ID, i.State, i)
				}
				continue
			}
			if i.State == "stopped" != (i.Reason != "") && i.State != "stopping" {
				t.Errorf("%s is %s because of %q", i.ID, i.State, i.Reason)
			}
			if prev := ips[i.IP]; prev != "" {
				t.Errorf("%s and %s are both %s", i.ID, prev, i.IP)
			}
			ips[i.IP] = i.ID
			at, ok := subnets[i.Subnet]
			if !ok || l.Subnets[at].VPC != i.VPC || l.Subnets[at].Zone != i.Zone {
				t.Errorf("%s: not in a subnet of its zone: %+v", i.ID, i)
			}
			for _, v := range i.Volumes {
				at, ok := volumes[v]
				if !ok || l.Volumes[at].On != i.ID || l.Volumes[at].Zone != i.Zone {
					t.Errorf("%s: volume %s does not exist or is in another zone", i.ID, v)
				}
				attachedVolumes++
			}
			for _, n := range i.NICs {
				at, ok := nics[n]
				if !ok || l.NICs[at].On != i.ID || l.NICs[at].IP != i.IP || l.NICs[at].Public != i.Public ||
					l.NICs[at].Subnet != i.Subnet {
					t.Errorf("%s: interface %s does not exist or differs: %+v", i.ID, n, i)
				}
				attachedNICs++
			}
			if len(i.Volumes) == 0 || len(i.NICs) != 1 || !slices.Contains(l.Images, i.Image) {
				t.Errorf("%+v", i)
			}
			for _, g := range i.Groups {
				if !slices.Contains(l.Groups, g) {
					t.Errorf("%s: group %s does not exist", i.ID, g)
				}
			}
		}
	}
	n := 0
	for _, v := range l.Volumes {
		if v.On != "" {
			n++
		}
	}
	if n != attachedVolumes || len(l.NICs) != attachedNICs {
		t.Errorf(
			"%d volumes attached, %d by the instances; %d interfaces, %d by the instances", n, attachedVolumes, len(l.NICs),
			attachedNICs,
		)
	}
	for _, a := range l.Addresses {
		if a.On != "" {
			if at, ok := nics[a.NIC]; !ok || l.NICs[at].Public != a.IP || l.NICs[at].On != a.On {
				t.Errorf("address %+v differs from its interface", a)
			}
		}
	}
}

func TestReferences(t *testing.T) {
	x := newTestClient(t, Options{Throttle: Throttle{Off: true}})
	x.acct.AddInstances("us-east-1", 150)
	l := x.describeResources()
	l.checkReferences(t)
	n, service, many := 0, 0, 0
	var text strings.Builder
	for _, r := range l.Reservations {
		n += len(r.Instances)
		if r.RequesterID != "" {
			service++
		}
		if len(r.Instances) > 1 {
			many++
		}
		for _, i := range r.Instances {
			for _, g := range i.Tags {
				text.WriteString(g.Value)
			}
		}
	}
	if n != 150 || service == 0 || many == 0 || len(l.Addresses) == 0 {
		t.Errorf(
			"%d instances, %d reservations by a service, %d with several instances, %d addresses", n, service, many,
			len(l.Addresses),
		)
	}
	for _, s := range []string{"<", "&", `"`, "'", "ö", "数"} {
		if !strings.Contains(text.String(), s) {
			t.Errorf("no tag contains %s", s)
		}
	}
	x.aws.Evolve(200)
	x.describeResources().checkReferences(t)
	x.aws.Evolve(200)
	x.describeResources().checkReferences(t)
}

// The same seed gives the same AWS and the same changes; another seed does not.
func TestSeed(t *testing.T) {
	build := func(seed uint64, calls int) string {
		x := newTestClient(t, Options{Seed: seed, Throttle: Throttle{Off: true}})
		x.acct.AddInstances("us-east-1", 20)
		for range calls { // must not matter
			x.ec2("us-east-1", longTerm(x.key), "DescribeInstances")
		}
		x.aws.Evolve(10)
		r := x.ec2("us-east-1", longTerm(x.key), "DescribeInstances")
		return x.key.ID + x.key.Secret + strings.Join(between(r.body, "<instanceId>", "</imageId>"), "") +
			strings.Join(between(r.body, "<name>", "</name>"), "") + strings.Join(between(r.body, "<value>", "</value>"), "")
	}
	if build(7, 0) != build(7, 5) {
		t.Error("the same seed gives different AWSs")
	}
	if build(7, 0) == build(8, 0) {
		t.Error("different seeds give the same AWS")
	}
}

// All kinds of changes happen, and a terminated instance is listed for an hour.
func TestEvolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{Throttle: Throttle{Off: true}})
		x.acct.AddInstances("us-east-1", 30)
		seen := map[string]bool{}
		terminated := map[string]bool{}
		var patched bool
		for range 20 {
			x.aws.Evolve(4)
			l := x.describeResources()
			l.checkReferences(t)
			for _, r := range l.Reservations {
				for _, i := range r.Instances {
					seen[i.State] = true
					if i.State == "terminated" {
						terminated[i.ID] = true
					}
					for _, g := range i.Tags {
						patched = patched || g.Key == "last-patched"
					}
				}
			}
			time.Sleep(time.Minute)
		}
		if len(seen) != 6 || !patched || len(terminated) == 0 {
			t.Errorf("states %v, tags changed %v, %d terminated", seen, patched, len(terminated))
		}
		time.Sleep(time.Hour)
		for _, r := range x.describeResources().Reservations {
			for _, i := range r.Instances {
				if terminated[i.ID] {
					t.Errorf("%s is still listed", i.ID)
				}
			}
		}
	})
}

func TestSharedFleets(t *testing.T) {
	x := newTestClient(t, Options{})
	x.acct.AddInstances("us-east-1", 10)
	other := x.aws.AddAccount("222222222222", "aws")
	k := other.AddUser("c").NewKey()
	other.ShareResources(x.acct)
	mine := x.ec2("us-east-1", longTerm(x.key), "DescribeInstances")
	theirs := x.ec2("us-east-1", longTerm(k), "DescribeInstances")
	a := between(mine.body, "<instanceId>", "</instanceId>")
	b := between(theirs.body, "<instanceId>", "</instanceId>")
	if len(a) != 10 || !slices.Equal(a, b) {
		t.Errorf("%v, %v", a, b)
	}
}

// The resources have a past: changes have the time that is set, and terminated instances leave the lists by it. Each
// change of a list gives it another revision.
func TestResourceTime(t *testing.T) {
	a := New(Options{})
	a.AddAccount("111111111111", "aws").AddInstances("us-east-1", 40)
	instances := ListKey{"111111111111", "us-east-1", "DescribeInstances"}
	vpcs := ListKey{"111111111111", "us-east-1", "DescribeVpcs"}
	revisions := func() map[ListKey]int { return maps.Collect(a.Revisions()) }
	at := time.Date(2024, 2, 3, 4, 0, 0, 0, time.UTC)
	a.SetResourceTime(at)
	first := revisions()
	a.Evolve(60)
	a.Evolve(0)
	second := revisions()
	if first[instances] == 0 || second[instances] <= first[instances] ||
		second[vpcs] != first[vpcs] {
		t.Errorf("revisions %v, then %v", first, second)
	}
	f := a.accounts["111111111111"].resources["us-east-1"]
	dated := 0
	listed := func() (all, ended int) {
		list, _ := f.items("DescribeInstances")
		for _, i := range list {
			all += i.count
			dated += bytes.Count(i.xml, []byte("2024-02-03"))
			ended += bytes.Count(i.xml, []byte("<name>terminated</name>"))
			if bytes.Contains(i.xml, []byte("<name>stopping</name>")) {
				t.Error("an instance is still stopping")
			}
		}
		return all, ended
	}
	all, ended := listed()
	if dated == 0 {
		t.Error("no change has the time that was set")
	}
	a.SetResourceTime(at.Add(time.Hour))
	if third := revisions(); third[instances] <= second[instances] {
		t.Error("the list has no new revision after terminated instances have left it")
	}
	if later, left := listed(); ended == 0 || later != all-ended || left != 0 {
		t.Errorf("%d instances, %d of them terminated; an hour later %d and %d", all, ended, later, left)
	}
}
