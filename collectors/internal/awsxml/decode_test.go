package awsxml_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/record"
)

var format = awsxml.EC2Query()

// volumes returns a response of DescribeVolumes with the items.
func volumes(items string) string {
	return "<DescribeVolumesResponse><volumeSet>" + items + "</volumeSet></DescribeVolumesResponse>"
}

// volume returns such a response with one volume that has the members.
func volume(members string) string {
	return volumes("<item><volumeId>v</volumeId>" + members + "</item>")
}

// documents are responses with one unusual feature each, and the seeds of FuzzDecode. data is the data of the first
// record without its id; err is the expected error, aside the cause for which the record is set aside.
var documents = []struct {
	name, xml string
	data      string
	odd       int
	err       error
	aside     error
}{
	{
		name: "absent, empty and self-closing",
		xml:  volume(`<attachmentSet/><tagSet></tagSet><operator/><kmsKeyId/><snapshotId></snapshotId>`),
		data: `"Attachments":[],"Tags":[],"Operator":{},"KmsKeyId":"","SnapshotId":""`,
	},
	{name: "a blank text", xml: volume(`<kmsKeyId>  </kmsKeyId>`), data: `"KmsKeyId":"  "`},
	{
		name: "white space in a list and in a structure",
		xml:  volume("<attachmentSet> \n\t </attachmentSet><operator>\r\n</operator>"),
		data: `"Attachments":[],"Operator":{}`,
	},
	{
		name: "entities", xml: volume(`<kmsKeyId>&lt;&gt;&amp;&apos;&quot;&#65;&#x42;&#x1F600;&#10;</kmsKeyId>`),
		data: `"KmsKeyId":"<>&'\"AB😀\n"`,
	},
	{name: "a surrogate by number", xml: volume(`<kmsKeyId>&#xD800;</kmsKeyId>`), data: "\"KmsKeyId\":\"\ufffd\""},
	{
		name: "CDATA", xml: volume(`<kmsKeyId>a<![CDATA[<b>&amp;]]]]><![CDATA[>]]>c</kmsKeyId>`),
		data: `"KmsKeyId":"a<b>&amp;]]>c"`,
	},
	{
		name: "comments and instructions",
		xml:  "<!-- a --><?b c?>" + volume(`<!-- <x> --><kmsKeyId>a<!-- b -->c<?d e?></kmsKeyId><?f?>`) + "<!-- g -->\n",
		data: `"KmsKeyId":"ac"`,
	},
	{
		name: "attributes", xml: volume(`<kmsKeyId a="x>y" b='&lt;/kmsKeyId>' >v</kmsKeyId ><size  xsi:nil = "true" />`),
		data: `"KmsKeyId":"v","Size":null`, odd: 1,
	},
	{name: "prefixes", xml: volume(`<ec2:kmsKeyId>v</ec2:kmsKeyId>`), data: `"KmsKeyId":"v"`},
	{
		name: "xsi:nil is ignored, as by the CLI", xml: volume(`<kmsKeyId xsi:nil="true"/><attachmentSet xsi:nil="true"/>`),
		data: `"KmsKeyId":"","Attachments":[]`,
	},
	{name: "byte order mark", xml: "\ufeff" + volume(`<kmsKeyId>v</kmsKeyId>`), data: `"KmsKeyId":"v"`},
	{
		name: "declaration",
		xml:  `<?xml version='1.0' encoding='utf-8' standalone="yes"?>` + volume(`<kmsKeyId>v</kmsKeyId>`),
		data: `"KmsKeyId":"v"`,
	},
	{
		name: "quotes and control characters", xml: volume("<kmsKeyId>\"\\\t\n\u007f\u2028</kmsKeyId>"),
		data: "\"KmsKeyId\":\"\\\"\\\\\\t\\n\u007f\u2028\"",
	},
	{name: "line ends", xml: volume("<kmsKeyId>a\r\nb\rc</kmsKeyId>"), data: `"KmsKeyId":"a\nb\nc"`},
	{
		name: "numbers and booleans",
		xml: volume(
			`<size>7</size><iops>-0</iops><throughput>1e3</throughput><encrypted>true</encrypted>` +
				`<multiAttachEnabled>false</multiAttachEnabled>`,
		),
		data: `"Size":7,"Iops":-0,"Throughput":1e3,"Encrypted":true,"MultiAttachEnabled":false`,
	},
	{
		name: "numbers and booleans that JSON does not know",
		xml: volume(
			`<size> +007 </size><iops>seven</iops><throughput></throughput><encrypted>True</encrypted><multiAttachEnabled/>`,
		),
		data: `"Size":7,"Iops":"seven","Throughput":null,"Encrypted":false,"MultiAttachEnabled":false`,
		odd:  4,
	},
	{
		name: "timestamps as sent", xml: volume(`<createTime>2026-03-01T08:15:32.000Z</createTime>`),
		data: `"CreateTime":"2026-03-01T08:15:32.000Z"`,
	},
	{
		name: "unknown members",
		xml: volume(
			`<aText>x</aText><aStruct><b>1</b><c><d/></c></aStruct><aList><item>1</item><item><e>2</e></item></aList>` +
				`<rep>1</rep><size>1</size><rep>2</rep><rep><item>3</item></rep>`,
		),
		data: `"aText":"x","aStruct":{"b":"1","c":{"d":""}},"aList":["1",{"e":"2"}],"Size":1,"rep":["1","2","3"]`,
		odd:  10,
	},
	{
		name: "another element between unknown items", xml: volume(`<aList><item>1</item><other>2</other></aList>`),
		data: `"aList":["1",{"other":"2"}]`, odd: 1,
	},
	{
		name: "an unknown member under a known one's name", xml: volume(`<Attachments>x</Attachments><attachmentSet/>`),
		data: `"Attachments#":"x","Attachments":[]`, odd: 1,
	},
	{
		name: "an element of another name in a list", xml: volume(`<tagSet><tag><key>a</key><value>b</value></tag></tagSet>`),
		data: `"Tags":[{"Key":"a","Value":"b"}]`, odd: 1,
	},
	{name: "another case", xml: volume(`<KMSKEYID>v</KMSKEYID>`), data: `"KmsKeyId":"v"`},
	{
		name: "a text sent twice", xml: volume(`<kmsKeyId>a</kmsKeyId><size>1</size><kmsKeyId>b</kmsKeyId>`),
		data: `"Size":1,"KmsKeyId":"b"`,
	},
	{
		name: "a list sent twice",
		xml: volume(
			`<tagSet><item><key>a</key><value>1</value></item></tagSet><size>1</size><tagSet/><tagSet><item><key>b</key>` +
				`<value>2</value></item></tagSet>`,
		),
		data: `"Size":1,"Tags":[{"Key":"a","Value":"1"},{"Key":"b","Value":"2"}]`,
	},
	{
		name: "a structure sent twice",
		xml: volume(
			`<operator><managed>true</managed></operator><size>1</size><operator><principal>p</principal>` +
				`<managed>false</managed></operator>`,
		),
		data: `"Size":1,"Operator":{"Principal":"p","Managed":false}`,
	},

	{name: "no items", xml: volumes("")},
	{name: "no list", xml: `<DescribeVolumesResponse><requestId>r</requestId></DescribeVolumesResponse>`},
	{name: "an empty root", xml: `<DescribeVolumesResponse/>`},
	{
		name: "unknown next to the items",
		xml:  `<DescribeVolumesResponse><new><a>1</a></new><volumeSet/><more/></DescribeVolumesResponse>`, odd: 2,
	},

	{name: "nothing", xml: "", err: io.ErrUnexpectedEOF},
	{name: "cut in a text", xml: volume(`<kmsKeyId>abc`)[:80], err: io.ErrUnexpectedEOF},
	{name: "cut in a tag", xml: `<DescribeVolumesResponse><volu`, err: io.ErrUnexpectedEOF},
	{
		name: "cut before the last tag", xml: strings.TrimSuffix(volume(""), "</DescribeVolumesResponse>"),
		err: io.ErrUnexpectedEOF,
	},
	{
		name: "cut in CDATA", xml: "<DescribeVolumesResponse><volumeSet><item><volumeId><![CDATA[x]]",
		err: io.ErrUnexpectedEOF,
	},
	{name: "cut in a comment", xml: "<DescribeVolumesResponse><!-- x -", err: io.ErrUnexpectedEOF},
	{name: "cut in an entity", xml: "<DescribeVolumesResponse><volumeSet><item><volumeId>&am", err: io.ErrUnexpectedEOF},
	{name: "DOCTYPE", xml: `<!DOCTYPE a [<!ENTITY b "c">]>` + volume(""), err: awsxml.ErrMarkup},
	{name: "a proxy's page", xml: "<html><body>Sign in</body></html>", err: awsxml.ErrMarkup},
	{name: "another operation's response", xml: "<DescribeSnapshotsResponse/>", err: awsxml.ErrMarkup},
	{name: "text next to elements", xml: volume("oops"), err: awsxml.ErrMarkup},
	{name: "text next to unknown elements", xml: volume("<a>oops<b/></a>"), err: awsxml.ErrMarkup},
	{name: "an element in a text", xml: volume("<kmsKeyId>a<b/></kmsKeyId>"), err: awsxml.ErrMarkup},
	{name: "CDATA next to elements", xml: volume("<![CDATA[x]]>"), err: awsxml.ErrMarkup},
	{name: "UTF-16", xml: "\xff\xfe<\x00", err: awsxml.ErrEncoding},
	{
		name: "another encoding declared", xml: `<?xml version="1.0" encoding="ISO-8859-1"?>` + volume(""),
		err: awsxml.ErrEncoding,
	},
	{name: "invalid UTF-8", xml: volume("<kmsKeyId>a\xffb</kmsKeyId>"), aside: awsxml.ErrEncoding},
	{name: "cut UTF-8", xml: volume("<kmsKeyId>a\xe2\x82</kmsKeyId>"), aside: awsxml.ErrEncoding},
	{name: "a control character", xml: volume("<kmsKeyId>a\x01</kmsKeyId>"), aside: awsxml.ErrSyntax},
	{name: "a control character by number", xml: volume("<kmsKeyId>&#1;</kmsKeyId>"), aside: awsxml.ErrSyntax},
	{name: "NUL", xml: volume("<kmsKeyId>\x00</kmsKeyId>"), aside: awsxml.ErrSyntax},
	{name: "an unknown entity", xml: volume("<kmsKeyId>&nbsp;</kmsKeyId>"), err: awsxml.ErrSyntax},
	{name: "a lone ampersand", xml: volume("<kmsKeyId>a & b, and so on</kmsKeyId>"), err: awsxml.ErrSyntax},
	{name: "mismatched tags", xml: volume("<kmsKeyId>a</kmsKeyID>"), err: awsxml.ErrSyntax},
	{name: "an end too many", xml: "</DescribeVolumesResponse>", err: awsxml.ErrSyntax},
	{name: "garbage behind the end", xml: volume("") + "x", err: awsxml.ErrSyntax},
	{name: "another document behind the end", xml: volume("") + volume(""), err: awsxml.ErrSyntax},
	{name: "an attribute without quotes", xml: volume("<kmsKeyId a=b>c</kmsKeyId>"), err: awsxml.ErrSyntax},
	{name: "no name", xml: volume("<>x</>"), err: awsxml.ErrSyntax},
	{name: "no id", xml: volumes("<item><size>1</size></item>"), aside: awsxml.ErrNoID},
	{name: "an empty item", xml: volumes("<item/>"), aside: awsxml.ErrNoID},
	{name: "an empty id", xml: volumes("<item><volumeId/></item>"), aside: awsxml.ErrNoID},
}

func compiled(t testing.TB, s awsxml.Spec) *awsxml.Program {
	t.Helper()
	g, err := awsxml.Compile(format, s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func decode(t testing.TB, g *awsxml.Program, o awsxml.Options, xml string) (*record.Page, string, error) {
	t.Helper()
	var d awsxml.Decoder
	p := new(record.Page)
	if o.Envelope == nil {
		o.Envelope = stamp()
	}
	next, err := d.Decode(g, o, strings.NewReader(xml), p)
	return p, next, err
}

// dataOf returns the data of each record.
func dataOf(p *record.Page) (data []string) {
	for v := range p.Views() {
		data = append(data, string(v.Data()))
	}
	return data
}

func TestDocuments(t *testing.T) {
	g := compiled(t, awsxml.Spec{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"}})
	for _, c := range documents {
		t.Run(c.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"whole":    strings.NewReader(c.xml),
				"by bytes": iotest.OneByteReader(strings.NewReader(c.xml)),
			} {
				var d awsxml.Decoder
				var p record.Page
				_, err := d.Decode(g, awsxml.Options{Envelope: stamp()}, r, &p)
				if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
					t.Fatalf("%s: %v, want %v", how, err, c.err)
				}
				if err != nil {
					continue
				}
				aside := p.SetAside()
				named := c.aside != nil && c.aside != awsxml.ErrNoID
				if (aside.Len() == 1) != (c.aside != nil) || (len(aside.IDs) == 1) != named ||
					c.aside != nil && !strings.Contains(aside.Causes[0], c.aside.Error()) {
					t.Errorf("%s: set aside %+v, want %v", how, aside, c.aside)
				}
				want := ""
				if c.data != "" {
					want = `{"VolumeId":"v",` + c.data + "}"
				}
				if got := strings.Join(dataOf(&p), "\n"); got != want || p.Unknown() != c.odd {
					t.Errorf("%s: %d odd things in\n%s\nwant %d in\n%s", how, p.Unknown(), got, c.odd, want)
				}
			}
		})
	}
}

// A resource that cannot be read costs neither its page nor the resources beside it. If its id was read, it is named,
// so that it does not count as gone.
func TestSetAside(t *testing.T) {
	bad := "<tagSet><item><key>Name</key><value>a&#x7;</value></item></tagSet>"
	for _, c := range []struct {
		name, xml  string
		items      string
		shown, ids string
		unnamed    int
		where      string
	}{
		{"a tag before the id", volumes("<item><volumeId>a</volumeId></item><item>" + bad + "<volumeId>b</volumeId></item>" +
			"<item><volumeId>c</volumeId></item>"), "Volumes", "a c", "b", 0, "b: decode response of DescribeVolumes at byte 1"},
		{"an unknown member", volumes("<item><volumeId>b</volumeId><odd><item>\x02</item></odd></item>"),
			"Volumes", "", "b", 0, "volumeSet/item/odd/item"},
		{"the id", volumes("<item><volumeId>b\x01</volumeId></item><item><volumeId>c</volumeId></item>"),
			"Volumes", "c", "", 1, "DescribeVolumesResponse/volumeSet/item/volumeId"},
		{"no id", volumes("<item>" + bad + "</item><item><volumeId>c</volumeId></item>"), "Volumes", "c", "", 1, "U+0007"},
		{"around the items", "<DescribeInstancesResponse><reservationSet><item><instancesSet><item>" +
			"<instanceId>a</instanceId></item></instancesSet><ownerId>\x01</ownerId></item><item><ownerId>1</ownerId>" +
			"<instancesSet><item><instanceId>b</instanceId></item></instancesSet></item></reservationSet></DescribeInstancesResponse>",
			"Reservations.Instances", "b", "a", 0, "reservationSet/item/ownerId"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := awsxml.Spec{Op: "DescribeVolumes", Items: c.items, ID: []string{"VolumeId"}}
			if c.items != "Volumes" {
				s.Op, s.ID = "DescribeInstances", []string{"InstanceId"}
			}
			p, _, err := decode(t, compiled(t, s), awsxml.Options{}, c.xml)
			if err != nil {
				t.Fatal(err)
			}
			var shown []string
			for v := range p.Views() {
				shown = append(shown, strings.Trim(string(v.ID()), `"`))
			}
			aside := p.SetAside()
			if strings.Join(shown, " ") != c.shown || strings.Join(aside.IDs, " ") != c.ids || aside.Unnamed != c.unnamed ||
				len(aside.Causes) != 1 || !strings.Contains(aside.Causes[0], c.where) {
				t.Errorf("shown %q, set aside %+v", shown, aside)
			}
		})
	}
	_, _, err := decode(t, compiled(t, awsxml.Spec{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"}}),
		awsxml.Options{}, "<DescribeVolumesResponse><nextToken>a\x01</nextToken></DescribeVolumesResponse>")
	if !errors.Is(err, awsxml.ErrSyntax) {
		t.Errorf("a token with a control character: %v", err)
	}
}

func TestAnErrorSaysWhere(t *testing.T) {
	g := compiled(t, awsxml.Spec{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"}})
	doc := volume("<attachmentSet><item><device>&oops;</device></item></attachmentSet>")
	_, _, err := decode(t, g, awsxml.Options{}, doc)
	var e *awsxml.Error
	if !errors.As(err, &e) || e.Op != "DescribeVolumes" ||
		e.Path != "DescribeVolumesResponse/volumeSet/item/attachmentSet/item/device" {
		t.Fatalf("%+v", e)
	}
	if want := int64(strings.Index(doc, "&oops;") + len("&oops;")); e.Offset != want {
		t.Errorf("offset %d, want %d", e.Offset, want)
	}
	if want := "decode response of DescribeVolumes at byte "; !strings.HasPrefix(err.Error(), want) {
		t.Error(err)
	}
}

func TestAReadersErrorIsKept(t *testing.T) {
	g := compiled(t, awsxml.Spec{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"}})
	broken := errors.New("connection reset")
	for n := range len(volume("<size>1</size>")) + 1 {
		var d awsxml.Decoder
		var p record.Page
		r := io.MultiReader(strings.NewReader(volume("<size>1</size>")[:n]), iotest.ErrReader(broken))
		if _, err := d.Decode(g, awsxml.Options{Envelope: stamp()}, r, &p); !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

// A truncated response is an error, even if the window still contains the rest of an earlier response.
func TestTruncatedResponseIsAnError(t *testing.T) {
	doc := strings.TrimSpace(string(pageOf(t, 1)))
	g := compiled(t, instances)
	var d awsxml.Decoder
	var p record.Page
	for n := len(doc); n >= 0; n-- {
		_, err := d.Decode(g, awsxml.Options{Envelope: stamp()}, strings.NewReader(doc[:n]), &p)
		if whole := n == len(doc); whole != (err == nil) || !whole && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d of %d bytes: %v", n, len(doc), err)
		}
	}
}

func TestReservationsStandUnderTheirInstances(t *testing.T) {
	p, next, err := decode(
		t,
		compiled(t, instances),
		awsxml.Options{},
		`<DescribeInstancesResponse><nextToken>a&amp;b</nextToken><reservationSet>
		<item><reservationId>r-1</reservationId><groupSet><item><groupId>g</groupId></item></groupSet>
			<instancesSet><item><instanceId>i-1</instanceId></item><item><instanceId>i-2</instanceId></item></instancesSet>
			<ownerId>222222222222</ownerId><requesterId>x</requesterId><new>1</new></item>
		<item><instancesSet/><reservationId>r-2</reservationId></item>
		<item><instancesSet><item><instanceId>i-3</instanceId></item></instancesSet></item>
	</reservationSet></DescribeInstancesResponse>`,
	)
	if err != nil || next != "a&b" || p.Unknown() != 1 {
		t.Fatal(next, err, p.Unknown())
	}
	r := `"Reservation":{"ReservationId":"r-1","Groups":[{"GroupId":"g"}],"OwnerId":"222222222222","RequesterId":"x",` +
		`"new":"1"}}`
	want := []string{`{"InstanceId":"i-1",` + r, `{"InstanceId":"i-2",` + r, `{"InstanceId":"i-3","Reservation":{}}`}
	if got := dataOf(p); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestOtherShapesOfResponses(t *testing.T) {
	for _, c := range []struct {
		spec     awsxml.Spec
		xml      string
		ids, out []string
	}{
		{awsxml.Spec{Op: "DescribeFleetInstances", Items: "ActiveInstances", ID: []string{"InstanceId"}},
			`<DescribeFleetInstancesResponse><activeInstanceSet><item><instanceId>i-1</instanceId></item>` +
				`</activeInstanceSet><fleetId>f-1</fleetId></DescribeFleetInstancesResponse>`,
			[]string{`"i-1"`}, []string{`{"InstanceId":"i-1","Answer":{"FleetId":"f-1"}}`}},
		{awsxml.Spec{Op: "DescribeVpcEndpointServices", Items: "ServiceNames"},
			`<DescribeVpcEndpointServicesResponse><serviceNameSet><item>a&lt;</item><item>b</item></serviceNameSet>` +
				`<serviceDetailSet/></DescribeVpcEndpointServicesResponse>`,
			[]string{`"a<"`, `"b"`}, []string{`"a<"`, `"b"`}},
		{
			awsxml.Spec{
				Op:    "DescribeVpcBlockPublicAccessOptions",
				Items: "VpcBlockPublicAccessOptions",
				ID:    []string{"AwsAccountId", "AwsRegion"},
			},
			`<DescribeVpcBlockPublicAccessOptionsResponse><vpcBlockPublicAccessOptions><awsRegion>r</awsRegion>` +
				`<awsAccountId>a</awsAccountId></vpcBlockPublicAccessOptions></DescribeVpcBlockPublicAccessOptionsResponse>`,
			[]string{`"a/r"`}, []string{`{"AwsRegion":"r","AwsAccountId":"a"}`}},
		{awsxml.Spec{Op: "GetEbsEncryptionByDefault", ConstID: "ebs"},
			`<GetEbsEncryptionByDefaultResponse><requestId>r</requestId>` +
				`<ebsEncryptionByDefault>true</ebsEncryptionByDefault></GetEbsEncryptionByDefaultResponse>`,
			[]string{`"ebs"`}, []string{`{"EbsEncryptionByDefault":true}`}},
		{awsxml.Spec{Op: "DescribeTags", Items: "Tags", ID: []string{"ResourceId", "Key"}},
			`<DescribeTagsResponse><tagSet><item><key>k"</key><resourceId>i-1</resourceId></item></tagSet>` +
				`</DescribeTagsResponse>`,
			[]string{`"i-1/k\""`}, []string{`{"Key":"k\"","ResourceId":"i-1"}`}},
	} {
		p, _, err := decode(t, compiled(t, c.spec), awsxml.Options{}, c.xml)
		if err != nil {
			t.Errorf("%s: %v", c.spec.Op, err)
			continue
		}
		var ids []string
		for v := range p.Views() {
			ids = append(ids, string(v.ID()))
		}
		if got := dataOf(p); fmt.Sprint(got) != fmt.Sprint(c.out) || fmt.Sprint(ids) != fmt.Sprint(c.ids) {
			t.Errorf("%s: %s %s, want %s %s", c.spec.Op, ids, got, c.ids, c.out)
		}
	}
}

func TestIDNameAndTagsOfTheRecord(t *testing.T) {
	tags := `<tagSet><item><key>Name</key><value>a"b</value></item><item><key>x</key></item></tagSet>`
	for _, c := range []struct{ name, xml, wantName, wantTags string }{
		{"", volume(tags), `"a\"b"`, `{"Name":"a\"b","x":""}`},
		{"", volume(`<tagSet><item><value>late</value><key>Name</key></item></tagSet>`), `"late"`, `{"Name":"late"}`},
		{"", volume(``), ``, `{}`},
		{"", volume(`<tagSet><item><key>Name</key><value/></item></tagSet>`), ``, `{"Name":""}`},
		{"KmsKeyId", volume(tags + `<kmsKeyId>k</kmsKeyId>`), `"k"`, `{"Name":"a\"b","x":""}`},
		// Repeated, so that the marks must move.
		{
			"KmsKeyId",
			volume(`<kmsKeyId>old</kmsKeyId>` + tags + `<kmsKeyId>k&amp;</kmsKeyId><volumeId>v</volumeId><tagSet><item>` +
				`<key>y</key><value>2</value></item></tagSet><size>1</size>`),
			`"k&"`, `{"Name":"a\"b","x":"","y":"2"}`,
		},
	} {
		g := compiled(t, awsxml.Spec{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"}, Name: c.name})
		p, _, err := decode(t, g, awsxml.Options{}, c.xml)
		if err != nil {
			t.Fatal(err)
		}
		for v := range p.Views() {
			if string(v.ID()) != `"v"` || string(v.Name()) != c.wantName || string(v.Tags()) != c.wantTags {
				t.Errorf("%s\n%s %s %s, want %s %s", c.xml, v.ID(), v.Name(), v.Tags(), c.wantName, c.wantTags)
			}
		}
	}
}

// The first alternative that is not empty is the state, and the type, also when marks must move.
func TestStateAndTypeOfTheRecord(t *testing.T) {
	g := compiled(t, awsxml.Spec{Op: "DescribeVolumes", Items: "Volumes", ID: []string{"VolumeId"},
		State: []string{"State", "SseType"}, Type: []string{"Operator.Principal", "VolumeType"}})
	for _, c := range []struct{ xml, state, typ string }{
		{"<status>in-use</status><volumeType>gp3</volumeType>", `"in-use"`, `"gp3"`},
		{"<volumeType>gp3</volumeType><operator><principal>p</principal></operator><sseType>s</sseType>", `"s"`, `"p"`},
		{"<sseType>s</sseType><status>a&quot;b</status>", `"a\"b"`, ``},
		{"<sseType>s</sseType><status/><operator/>", `"s"`, ``},
		{"<size>1</size>", ``, ``},
		{"<operator><principal>p</principal></operator><status>old</status><volumeType>t</volumeType><size>1</size>" +
			"<operator><managed>true</managed></operator><status>new</status>", `"new"`, `"p"`},
	} {
		p, _, err := decode(t, g, awsxml.Options{}, volume(c.xml))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for v := range p.Views() {
			n++
			if string(v.State()) != c.state || string(v.Type()) != c.typ {
				t.Errorf("%s\n%s %s, want %s %s", c.xml, v.State(), v.Type(), c.state, c.typ)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d records", c.xml, n)
		}
	}
}

func TestSensitiveMembers(t *testing.T) {
	spec := awsxml.Spec{Op: "DescribeVpnConnections", Items: "VpnConnections", ID: []string{"VpnConnectionId"},
		Sensitive: []string{"CustomerGatewayConfiguration", "Options.TunnelOptions.PreSharedKey", "VgwTelemetry"}}
	xml := `<DescribeVpnConnectionsResponse><vpnConnectionSet><item><vpnConnectionId>v</vpnConnectionId>` +
		`<customerGatewayConfiguration>&lt;key/&gt;</customerGatewayConfiguration>` +
		`<options><tunnelOptionSet><item><preSharedKey>hunter2</preSharedKey><dpdTimeoutSeconds>1</dpdTimeoutSeconds>` +
		`</item><item><preSharedKey/></item></tunnelOptionSet></options>` +
		`<vgwTelemetry>@</vgwTelemetry></item></vpnConnectionSet></DescribeVpnConnectionsResponse>`
	one, two := `<item><status>UP</status></item>`, `<item><status>DOWN</status></item>`
	xml, swapped := strings.Replace(xml, "@", one+two, 1), strings.Replace(xml, "@", two+one, 1)
	g := compiled(t, spec)
	key := []byte("0123456789abcdef")
	show := func(mode awsxml.Mode, key []byte, xml string) string {
		t.Helper()
		p, _, err := decode(t, g, awsxml.Options{Sensitive: mode, DigestKey: key}, xml)
		if err != nil {
			t.Fatal(err)
		}
		return dataOf(p)[0]
	}
	// printf %s hunter2 | openssl dgst -sha256 -hmac 0123456789abcdef
	want := `{"VpnConnectionId":"v","CustomerGatewayConfiguration":"hmac:4868a929b9758ba2271d192d6a0f4b3d",` +
		`"Options":{"TunnelOptions":[{"PreSharedKey":"hmac:deda27db21d02fd2c8f56d22f15960ff","DpdTimeoutSeconds":1},` +
		`{"PreSharedKey":""}]},"VgwTelemetry":"hmac:592687389f750b4da1b85cca07524aa6"}`
	if got := show(awsxml.Digest, key, xml); got != want {
		t.Errorf("digest\n%s\nwant\n%s", got, want)
	}
	if got := show(awsxml.Digest, key, swapped); got != want {
		t.Errorf("the order of a list changed its digest: %s", got)
	}
	if got := show(awsxml.Digest, []byte("another key"), xml); strings.Contains(got, "deda27db21d02fd2c8f56d22f15960ff") ||
		got == want ||
		len(got) != len(want) {
		t.Errorf("another key: %s", got)
	}
	if got, want := show(awsxml.Drop, nil, xml), `{"VpnConnectionId":"v",`+
		`"Options":{"TunnelOptions":[{"DpdTimeoutSeconds":1},{}]}}`; got != want {
		t.Errorf("drop\n%s", got)
	}
	if got := show(awsxml.Clear, nil, xml); !strings.Contains(got, `"PreSharedKey":"hunter2"`) ||
		!strings.Contains(got, `"CustomerGatewayConfiguration":"<key/>"`) ||
		!strings.Contains(got, `"VgwTelemetry":[{"Status":"UP"},{"Status":"DOWN"}]`) {
		t.Errorf("clear\n%s", got)
	}
	p, _, err := decode(t, g, awsxml.Options{}, xml)
	if !errors.Is(err, awsxml.ErrKey) || bytes.Contains(p.Lines(), []byte("hunter2")) {
		t.Errorf("without a key: %v", err)
	}
	for _, mode := range []awsxml.Mode{awsxml.Digest, awsxml.Drop} {
		twice := strings.Replace(
			xml, "</item></vpnConnectionSet>",
			"<customerGatewayConfiguration>hunter3</customerGatewayConfiguration><vgwTelemetry/></item></vpnConnectionSet>",
			1,
		)
		if got := show(mode, key, twice); strings.Contains(got, "hunter") ||
			strings.Count(got, "CustomerGatewayConfiguration") > 1 ||
			strings.Contains(got, "UP") {
			t.Errorf("sent twice: %s", got)
		}
	}
}
