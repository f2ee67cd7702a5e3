package awsxml_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/record"
)

func TestCompileErrors(t *testing.T) {
	ok := awsxml.Spec{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"}}
	for _, c := range []struct {
		change func(*awsxml.Spec)
		want   string
	}{
		{func(s *awsxml.Spec) { s.Op = "DescribeVolume" }, "DescribeVolume: no such operation"},
		{func(s *awsxml.Spec) { s.Items = "Volume" }, "DescribeVolumes: items: Volume: no member Volume"},
		{func(s *awsxml.Spec) { s.Items = "NextToken" }, "neither a list nor a structure"},
		{func(s *awsxml.Spec) { s.Items = "Volumes.Attachments.X" }, "more than one list or structure"},
		{func(s *awsxml.Spec) { s.ID = nil }, "neither ID nor ConstID"},
		{func(s *awsxml.Spec) { s.ID = []string{"volumeId"} }, "id: volumeId: no member volumeId (did you mean VolumeId?)"},
		{func(s *awsxml.Spec) { s.ID = []string{"Tags"} }, "id: Tags has the wrong type"},
		{func(s *awsxml.Spec) { s.ID = []string{"Attachments.InstanceId"} }, "is in a list"},
		{func(s *awsxml.Spec) { s.ID = []string{"Size", "Iops", "State", "VolumeId", "KmsKeyId"} }, "more than 4 members"},
		{func(s *awsxml.Spec) { s.ConstID = "x" }, "both ID and ConstID"},
		{func(s *awsxml.Spec) { s.Name = "Size" }, "name: Size has the wrong type"},
		{func(s *awsxml.Spec) { s.State = []string{"Size"} }, "state: Size has the wrong type"},
		{func(s *awsxml.Spec) { s.State = []string{"Attachments.State"} }, "state: Attachments.State: is in a list"},
		{func(s *awsxml.Spec) { s.Type = []string{"State", "VolumeType", "KmsKeyId"} }, "type: more than 2 members"},
		{func(s *awsxml.Spec) { s.Volatile = []string{"Attachments.Oops"} }, "volatile: Attachments.Oops: no member Oops"},
		{func(s *awsxml.Spec) { s.Volatile = []string{"VolumeId.Oops"} }, "is not a structure"},
		{func(s *awsxml.Spec) { s.Ordered = []string{"Size"} }, "ordered: Size has the wrong type"},
		{func(s *awsxml.Spec) { s.Sensitive = []string{"VolumeId"} }, "sensitive: VolumeId"},
		{func(s *awsxml.Spec) { s.State, s.Sensitive = []string{"State"}, []string{"State"} }, "sensitive: State"},
		{func(s *awsxml.Spec) { s.Sensitive = []string{"Tags"} }, "sensitive: Tags"},
		{
			func(s *awsxml.Spec) { s.ID, s.Sensitive = []string{"Operator.Principal"}, []string{"Operator"} },
			"sensitive: Operator",
		},
	} {
		s := ok
		c.change(&s)
		if _, err := awsxml.Compile(format, s); err == nil || !strings.Contains(err.Error(), c.want) ||
			!strings.HasPrefix(err.Error(), s.Op+": ") {
			t.Errorf("%+v: %v, want %q", s, err, c.want)
		}
	}
	g := compiled(t, ok)
	if g.Spec().Op != "DescribeVolumes" || g.Item().Name() != "Volume" {
		t.Error(g.Spec(), g.Item().Name())
	}
	if around, _ := g.Enclosing(); around != "" {
		t.Error(around)
	}
	if around, s := compiled(t, instances).Enclosing(); around != "Reservation" || s.Name() != "Reservation" {
		t.Error(around, s.Name())
	}
}

func TestEveryListOfEveryOperationCompiles(t *testing.T) {
	n := 0
	for _, op := range awsxml.Operations("ec2") {
		o, ok := awsxml.Describe("ec2", op)
		if !ok || o.Name != op {
			t.Fatal(op)
		}
		for m := range o.Output.Members() {
			if m.Shape.Type() == awsxml.List {
				compiled(t, awsxml.Spec{Op: op, Items: m.Name, ConstID: "x"})
				n++
			}
		}
	}
	if n < 200 {
		t.Errorf("only %d lists", n)
	}
}

func TestDescribeSaysWhatTheSDKHas(t *testing.T) {
	if _, ok := awsxml.Describe("ec2", "DescribeNothing"); ok {
		t.Error("an operation that is none")
	}
	if !slices.IsSorted(awsxml.Operations("ec2")) {
		t.Error("not sorted")
	}
	o, _ := awsxml.Describe("ec2", "DescribeImages")
	owners, _ := o.Input("Owners")
	if !o.Paginated || !o.Has("MaxResults") || !o.Has("NextToken") || !o.Has("DryRun") || o.Has("Oops") ||
		owners != (awsxml.Input{Name: "Owners", Wire: "Owner", Type: awsxml.List}) {
		t.Errorf("%+v", o)
	}
	if z, _ := awsxml.Describe("ec2", "DescribeAvailabilityZones"); z.Paginated || z.Has("MaxResults") {
		t.Errorf("%+v", z)
	}
	routes, _ := awsxml.Describe("ec2", "DescribeClientVpnRoutes")
	if in, _ := routes.Input("ClientVpnEndpointId"); !in.Required || in.Type != awsxml.String {
		t.Errorf("%+v", in)
	}
	s, ok := o.Output.Path("Images.BlockDeviceMappings.Ebs.VolumeSize")
	if !ok || s.Type() != awsxml.Integer {
		t.Error("path")
	}
	if s, ok := o.Output.Path("Images"); !ok || s.Type() != awsxml.List || s.Elem().Name() != "Image" ||
		s.Item() != "item" {
		t.Error("a list at a path's end stays one")
	}
	if _, ok := o.Output.Path("Images.Nothing"); ok {
		t.Error("a path that leads nowhere")
	}
}

// endless is a response without an end.
type endless struct {
	head string
	more string
}

func (e *endless) Read(b []byte) (n int, err error) {
	if e.head == "" {
		e.head = strings.Repeat(e.more, 1+8000/len(e.more))
	}
	n = copy(b, e.head)
	e.head = e.head[n:]
	return n, nil
}

func TestLimitsAgainstAResponseThatDoesNotEnd(t *testing.T) {
	limits := awsxml.Limits{Depth: 30, Item: 100 << 10, Page: 1 << 20, Token: 4 << 10}
	const volumesHead = "<DescribeVolumesResponse><volumeSet><item><volumeId>v</volumeId>"
	const reservation = "<DescribeInstancesResponse><reservationSet><item>"
	for _, c := range []struct {
		name, head, more string
		want             error
		says             string
	}{
		{"blanks", "", " ", nil, ""},
		{"a tag", "<", "a", awsxml.ErrLimit, "tag"},
		{"a tag's attributes", "<a ", `b="c" `, awsxml.ErrLimit, "tag"},
		{"a name", volumesHead + "<" + strings.Repeat("n", 600) + ">", "x", awsxml.ErrLimit, "name"},
		{"an instruction", "<?", "a", awsxml.ErrLimit, "instruction"},
		{"a text", volumesHead + "<kmsKeyId>", "abc", awsxml.ErrLimit, "text"},
		{"a text of entities", volumesHead + "<kmsKeyId>", "&lt;", awsxml.ErrLimit, "text"},
		{"CDATA", volumesHead + "<kmsKeyId><![CDATA[", "abc", awsxml.ErrLimit, "text"},
		{"a token", "<DescribeVolumesResponse><nextToken>", "abc", awsxml.ErrLimit, "text"},
		{"depth of unknown elements", volumesHead, "<deep>", awsxml.ErrLimit, "deep"},
		{"depth of what is skipped", "<DescribeVolumesResponse>", "<deep>", awsxml.ErrLimit, "deep"},
		{"tags", volumesHead + "<tagSet>", "<item><key>k</key><value>v</value></item>", awsxml.ErrLimit, "record"},
		{"empty tags", volumesHead + "<tagSet>", "<item/>", awsxml.ErrLimit, "record"},
		{"unknown members of many names", volumesHead, "<a/><b/><c/><d/><e/><f/><g/>", awsxml.ErrLimit, ""},
		{"an unknown list", volumesHead + "<odd>", "<item>x</item>", awsxml.ErrLimit, "record"},
		{
			"members sent twice", volumesHead + "<description>" + strings.Repeat("x", 1000) + "</description>",
			"<size>1</size><iops>1</iops>", awsxml.ErrLimit, "repeated members",
		},
		{"items", "<DescribeVolumesResponse><volumeSet>", "<item><volumeId>v</volumeId></item>", awsxml.ErrLimit, "page"},
		{
			"instances of a reservation", reservation + "<instancesSet>", "<item><instanceId>i</instanceId></item>",
			awsxml.ErrLimit, "page",
		},
		{
			"members of a reservation", reservation + "<groupSet>", "<item><groupId>g</groupId></item>", awsxml.ErrLimit,
			"record",
		},
		{
			"reservations", "<DescribeInstancesResponse><reservationSet>",
			"<item><instancesSet><item><instanceId>i</instanceId></item></instancesSet></item>", awsxml.ErrLimit, "page",
		},
		{"unknown next to the items", "<DescribeVolumesResponse>", "<odd><a>x</a></odd>", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := awsxml.Spec{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"}}
			if strings.HasPrefix(c.head, "<DescribeInstances") {
				s = instances
			}
			var d awsxml.Decoder
			var p record.Page
			stop := errors.New("stopped by the test") // discarded bytes cost no memory, so they are not limited
			r := io.MultiReader(io.LimitReader(&endless{c.head, c.more}, 8<<20), &stopped{stop})
			_, err := d.Decode(compiled(t, s), awsxml.Options{Envelope: stamp(), Limits: limits}, r, &p)
			want := c.want
			if want == nil {
				want = stop
			}
			if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%.300v, want %v (%s)", err, want, c.says)
			}
			if p.MemorySize() > 24<<20 {
				t.Errorf("the page took %d bytes", p.MemorySize())
			}
		})
	}
}

type stopped struct{ err error }

func (s *stopped) Read([]byte) (int, error) { return 0, s.err }

// A reservation's members become part of each of its instances: a few bytes on the wire must not become gigabytes.
func TestLimitsAgainstMultiplication(t *testing.T) {
	doc := "<DescribeInstancesResponse><reservationSet><item><requesterId>" + strings.Repeat(
		"x",
		90<<10,
	) + "</requesterId><instancesSet>" +
		strings.Repeat(
			"<item><instanceId>i</instanceId></item>",
			1000,
		) + "</instancesSet></item></reservationSet></DescribeInstancesResponse>"
	p, _, err := decode(
		t, compiled(t, instances), awsxml.Options{Limits: awsxml.Limits{Item: 100 << 10, Page: 10 << 20}}, doc,
	)
	if !errors.Is(err, awsxml.ErrLimit) || p.MemorySize() > 10<<20 {
		t.Errorf("%v; the page took %d bytes", err, p.MemorySize())
	}
}

// The limits must not depend on the earlier content of the page.
func TestLimitsDoNotDependOnThePagesMemory(t *testing.T) {
	var d awsxml.Decoder
	var p record.Page
	o := awsxml.Options{Envelope: stamp()}
	if _, err := d.Decode(compiled(t, instances), o, strings.NewReader(string(pageOf(t, 1000))), &p); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("<item><key>k</key><value>v</value></item>", 100)
	for name, c := range map[string]struct {
		spec awsxml.Spec
		xml  string
	}{
		"item": {
			awsxml.Spec{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"}},
			volume("<tagSet>" + long + "</tagSet>"),
		},
		"around": {instances, "<DescribeInstancesResponse><reservationSet><item><instancesSet><item>" +
			"<instanceId>i</instanceId></item></instancesSet><odd>" + long +
			"</odd></item></reservationSet></DescribeInstancesResponse>"},
	} {
		o.Limits.Item = 1000
		if _, err := d.Decode(compiled(t, c.spec), o, strings.NewReader(c.xml), &p); !errors.Is(err, awsxml.ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDefaultsCarryALargePage(t *testing.T) {
	p, next, err := decode(t, compiled(t, instances), awsxml.Options{}, string(pageOf(t, 1000)))
	if err != nil || p.Len() != 1000 || next != "next" || p.Unknown() != 0 {
		t.Fatal(err, p.Len(), next, p.Unknown())
	}
	// 64 KiB in one value, across windows.
	long := strings.Repeat("0123456789abcdef&amp;", 5000)
	p, _, err = decode(
		t, compiled(t, awsxml.Spec{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"}}), awsxml.Options{},
		volume("<kmsKeyId>"+long+"</kmsKeyId>"),
	)
	if err != nil || !strings.Contains(dataOf(p)[0], strings.ReplaceAll(long, "&amp;", "&")) {
		t.Fatal(err)
	}
}

func TestADecoderServesOneProgramAfterAnother(t *testing.T) {
	v := compiled(t, awsxml.Spec{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"}})
	i := compiled(t, instances)
	var d awsxml.Decoder
	var p record.Page
	for range 3 {
		for _, g := range []*awsxml.Program{v, i} {
			doc := volume("<size>1</size>")
			if g == i {
				doc = string(pageOf(t, 3))
			}
			if _, err := d.Decode(g, awsxml.Options{Envelope: stamp()}, strings.NewReader("<oops"), &p); err == nil {
				t.Fatal("taken")
			}
			next, err := d.Decode(g, awsxml.Options{Envelope: stamp()}, strings.NewReader(doc), &p)
			if err != nil || (g == v) != (p.Len() == 1 && next == "") {
				t.Fatal(err, p.Len(), next)
			}
		}
	}
}

// TestAllocations checks that values need no allocations: once its buffers have grown, a page needs only a few.
func TestAllocations(t *testing.T) {
	xml := string(pageOf(t, 100))
	g := compiled(t, instances)
	var d awsxml.Decoder
	var p record.Page
	o := awsxml.Options{Envelope: stamp()}
	n := testing.AllocsPerRun(10, func() {
		if _, err := d.Decode(g, o, strings.NewReader(xml), &p); err != nil {
			t.Fatal(err)
		}
	})
	if n > 10 {
		t.Errorf("%v allocations for 100 instances", n)
	}
}

// TestSumOfAnInstance checks the content hash of a decoded instance, and what it must not depend on.
func TestSumOfAnInstance(t *testing.T) {
	g := compiled(t, instances)
	sum := func(doc string) record.Digest {
		p, _, err := decode(t, g, awsxml.Options{}, doc)
		if err != nil {
			t.Fatal(err)
		}
		for v := range p.Views() {
			return v.Digest()
		}
		panic("empty")
	}
	doc := string(pageOf(t, 1))
	want := sum(doc)
	if got := fmt.Sprintf("%x", want); got != "e45cd0260ac1c9594e692152eec78040" {
		t.Errorf("%s: has the canonical form changed? Then raise record.SumVersion", got)
	}
	remove := func(s string) string { return strings.Replace(doc, s, "", 1) }
	swap := func(a, b string) string {
		if !strings.Contains(doc, a) || !strings.Contains(doc, b) {
			t.Fatal(a, b)
		}
		return strings.NewReplacer(a, b, b, a).Replace(doc)
	}
	for what, same := range map[string]string{
		"indentation": strings.ReplaceAll(doc, "    ", ""),
		"groups in order": swap(
			"sg-0a1b2c3d4e5f60718</groupId>\n                            <groupName>web-servers",
			"sg-0a1b2c3d4e5f60719</groupId>\n                            <groupName>default",
		),
		"a volatile member": strings.Replace(doc, "<usageOperationUpdateTime>2026", "<usageOperationUpdateTime>2027", 1),
		"no volatile one":   remove("<usageOperationUpdateTime>2026-03-01T08:15:31.000Z</usageOperationUpdateTime>"),
	} {
		if same == doc || sum(same) != want {
			t.Errorf("%s: changed the hash", what)
		}
	}
	for what, other := range map[string]string{
		"a tag":              strings.Replace(doc, "<value>platform", "<value>platform2", 1),
		"a member less":      strings.Replace(doc, "<ebsOptimized>true</ebsOptimized>", "", 1),
		"a tag less":         strings.Replace(doc, "<key>ManagedBy</key>", "", 1),
		"the reservation":    strings.Replace(doc, "043234062703", "043234062704", 1),
		"an unknown member":  strings.Replace(doc, "<hypervisor>", "<new>1</new><hypervisor>", 1),
		"an element more":    strings.Replace(doc, "<ipv4PrefixSet/>", "<ipv4PrefixSet><item/></ipv4PrefixSet>", 1),
		"keys to values":     swap("<key>Team</key>", "<key>CostCenter</key>"),
		"false for true":     strings.Replace(doc, "<ebsOptimized>true", "<ebsOptimized>false", 1),
		"a list for nothing": strings.Replace(doc, "<productCodes/>", "", 1),
	} {
		if other == doc || sum(other) == want {
			t.Errorf("%s: did not change the hash", what)
		}
	}
}

func TestAnOrderedListIsNoSet(t *testing.T) {
	s := awsxml.Spec{Op: "DescribeDhcpOptions", Items: "DhcpOptions", ID: []string{"DhcpOptionsId"}}
	doc := func(a, b string) string {
		v := func(s string) string { return "<item><value>" + s + "</value></item>" }
		return "<DescribeDhcpOptionsResponse><dhcpOptionsSet><item><dhcpOptionsId>d</dhcpOptionsId><dhcpConfigurationSet>" +
			"<item><key>domain-name-servers</key><valueSet>" +
			v(a) + v(
			b,
		) + "</valueSet></item></dhcpConfigurationSet></item></dhcpOptionsSet></DescribeDhcpOptionsResponse>"
	}
	for _, ordered := range [][]string{nil, {"DhcpConfigurations.Values"}} {
		s.Ordered = ordered
		var sums []record.Digest
		for _, xml := range []string{doc("10.0.0.1", "10.0.0.2"), doc("10.0.0.2", "10.0.0.1")} {
			p, _, err := decode(t, compiled(t, s), awsxml.Options{}, xml)
			if err != nil {
				t.Fatal(err)
			}
			for v := range p.Views() {
				sums = append(sums, v.Digest())
			}
		}
		if same := sums[0] == sums[1]; same != (ordered == nil) {
			t.Errorf("ordered %v: same hash %v", ordered, same)
		}
	}
}
