package awsxml_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/record"
)

// things is a response with maps, flat maps and flat lists.
const things = `<ListThingsResponse><requestId>r</requestId>
  <thing>
    <id>a</id>
    <alias>one</alias>
    <alias/>
    <alias>two</alias>
    <attributes>
      <entry><key>color</key><value>red</value></entry>
      <entry><key>size &amp; "more"</key><value/></entry>
    </attributes>
    <counts><entry><key>Users</key><value>3</value></entry></counts>
    <flag>true</flag>
    <limit><Name>cpu</Name><Value>4</Value></limit>
    <limit><Name>memory</Name><Value>8</Value></limit>
    <part><id>p</id><names><item>x</item></names></part>
    <part><labels><entry><key>k</key><value>v</value></entry></labels></part>
    <places><entry><Where>here</Where><What><id>q</id></What></entry></places>
  </thing>
  <thing><id>b</id><attributes/></thing>
  <nextToken>n</nextToken>
</ListThingsResponse>`

func formsProgram(t *testing.T, s awsxml.Spec) *awsxml.Program {
	t.Helper()
	awsxml.WithForms(t)
	s.Op, s.Items, s.ID = "ListThings", "Things", []string{"Id"}
	g, err := awsxml.Compile(formatOf(s), s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func thing(s string) string {
	return "<ListThingsResponse><thing><id>a</id>" + s + "</thing></ListThingsResponse>"
}

func entry(s string) string { return "<entry>" + s + "</entry>" }

func TestMapsAndFlatLists(t *testing.T) {
	g := formsProgram(t, awsxml.Spec{})
	for _, c := range []struct {
		name, xml string
		data      string // without the id
		unknown   int
	}{
		{name: "the first of one key", data: `"Attributes":{"k":"2"}`,
			xml: "<attributes>" + entry("<key>k</key><value>1</value>") + entry("<key>k</key><value>2</value>") +
				"</attributes>"},
		{name: "one key among others", data: `"Attributes":{"b":"2","c":"3","a":"4"}`,
			xml: "<attributes>" + entry("<key>a</key><value>1</value>") + entry("<key>b</key><value>2</value>") +
				entry("<key>c</key><value>3</value>") + entry("<key>a</key><value>4</value>") + "</attributes>"},
		{name: "the value first", data: `"Attributes":{"k":"1"}`,
			xml: "<attributes>" + entry("<value>1</value><key>k</key>") + "</attributes>"},
		{name: "two values", data: `"Attributes":{"k":"2"}`,
			xml: "<attributes>" + entry("<key>k</key><value>1</value><value>2</value>") + "</attributes>"},
		{name: "two keys", data: `"Attributes":{"m":"1"}`,
			xml: "<attributes>" + entry("<key>k</key><key>m</key><value>1</value>") + "</attributes>"},
		{name: "an empty key", data: `"Attributes":{"":"1"}`,
			xml: "<attributes>" + entry("<key/><value>1</value>") + "</attributes>"},
		{name: "no value", data: `"Attributes":{"k":""},"Places":{"here":{}}`,
			xml: "<attributes>" + entry("<key>k</key>") + "</attributes><places>" + entry("<Where>here</Where>") +
				"</places>"},
		{name: "no key", data: `"Attributes":{"k":"1"}`, unknown: 2,
			xml: "<attributes>" + entry("<value>0</value>") + entry("<key>k</key><value>1</value>") + "<entry/></attributes>"},
		{name: "other elements", data: `"Attributes":{"k":"1"}`, unknown: 3,
			xml: "<attributes><odd/>" + entry("<odd>1<b/></odd><key>k</key><value>1</value>") +
				"<strange>a</strange></attributes>"},
		{name: "another case", data: `"Attributes":{"k":"1"}`,
			xml: "<ATTRIBUTES><ENTRY><KEY>k</KEY><VALUE>1</VALUE></ENTRY></ATTRIBUTES>"},
		{name: "a map twice", data: `"Attributes":{"b":"2","a":"3"}`,
			xml: "<attributes>" + entry("<key>a</key><value>1</value>") + entry("<key>b</key><value>2</value>") +
				"</attributes><attributes>" + entry("<key>a</key><value>3</value>") + "</attributes>"},
		{name: "a flat list apart", data: `"Counts":{},"Names":["1","2","3"]`,
			xml: "<alias>1</alias><counts/><alias>2</alias><alias>3</alias>"},
		{name: "a flat map apart", data: `"Counts":{},"Limits":{"b":2,"a":3}`,
			xml: "<limit><Name>a</Name><Value>1</Value></limit><counts/><limit><Name>b</Name><Value>2</Value></limit>" +
				"<limit><Name>a</Name><Value>3</Value></limit>"},
		{name: "a flat list of booleans", data: `"Flags":[true,false]`, xml: "<flag>true</flag><!-- c --><flag>false</flag>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _, err := decode(t, g, awsxml.Options{}, thing(c.xml))
			if err != nil {
				t.Fatal(err)
			}
			if want := []string{`{"Id":"a",` + c.data + `}`}; !slices.Equal(dataOf(p), want) || p.Unknown() != c.unknown {
				t.Errorf("%s, %d unknown\nwant %s, %d", dataOf(p), p.Unknown(), want, c.unknown)
			}
		})
	}
}

func TestThings(t *testing.T) {
	g := formsProgram(t, awsxml.Spec{})
	p, next, err := decode(t, g, awsxml.Options{}, things)
	if err != nil || next != "n" || p.Unknown() > 0 {
		t.Fatalf("%q, %v, %d unknown", next, err, p.Unknown())
	}
	want := []string{
		`{"Id":"a","Names":["one","","two"],"Attributes":{"color":"red","size & \"more\"":""},"Counts":{"Users":3},` +
			`"Flags":[true],"Limits":{"cpu":4,"memory":8},"Parts":[{"Id":"p","Names":["x"]},{"Labels":{"k":"v"}}],` +
			`"Places":{"here":{"Id":"q"}}}`,
		`{"Id":"b","Attributes":{}}`,
	}
	if got := dataOf(p); !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for cut := range len(things) - 1 {
		if _, _, err := decode(t, g, awsxml.Options{}, things[:cut]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at byte %d: %v", cut, err)
		}
	}
}

// The entries of a map have no order: AWS may send them in any. Their keys and values count.
func TestDigestsOfMaps(t *testing.T) {
	g := formsProgram(t, awsxml.Spec{Volatile: []string{"Places.Labels"}})
	digest := func(xml string) (sum record.Digest) {
		t.Helper()
		p, _, err := decode(t, g, awsxml.Options{}, thing(xml))
		if err != nil {
			t.Fatal(err)
		}
		for v := range p.Views() {
			sum = v.Digest()
		}
		return sum
	}
	const a, b, c = "<key>a</key><value>1</value>", "<key>b</key><value>2</value>", "<key>b</key><value>1</value>"
	ofMap := func(entries ...string) string {
		return "<attributes><entry>" + strings.Join(entries, "</entry><entry>") + "</entry></attributes>"
	}
	place := func(names ...string) string {
		return "<places><entry><Where>w</Where><What><labels>" + entry("<key>k</key><value>"+names[0]+"</value>") +
			"</labels><names><item>" + strings.Join(names[1:], "</item><item>") + "</item></names></What></entry></places>"
	}
	for _, x := range []struct {
		name, one, other string
		equal            bool
	}{
		{"another order", ofMap(a, b), ofMap(b, a), true},
		{"another value", ofMap(a, b), ofMap(a, c), false},
		{"an entry less", ofMap(a, b), ofMap(a), false},
		{"a volatile member and a list in a value", place("v", "x", "y"), place("w", "y", "x"), true},
		{"a list in a value", place("v", "x", "y"), place("v", "x", "z"), false},
	} {
		if got := digest(x.one) == digest(x.other); got != x.equal {
			t.Errorf("%s: equal %v", x.name, got)
		}
	}
}

// Limits and sensitive members apply to maps and flat lists as to others.
func TestLimitsOfMaps(t *testing.T) {
	g := formsProgram(t, awsxml.Spec{Sensitive: []string{"Attributes", "Secrets"}})
	o := awsxml.Options{DigestKey: []byte("k"), Limits: awsxml.Limits{Item: 1 << 10, Depth: 6}}
	many := strings.Repeat(entry("<key>k</key><value>secret</value>"), 3)
	p, _, err := decode(t, g, o, thing("<attributes>"+many+"</attributes><secret>s</secret><secret>t</secret>"))
	if err != nil {
		t.Fatal(err)
	}
	if got := dataOf(p)[0]; strings.Contains(got, "secret") || strings.Count(got, `"hmac:`) != 2 {
		t.Errorf("%s", got)
	}
	for _, xml := range []string{
		"<counts>" + entry("<key>"+strings.Repeat("k", 2<<10)+"</key><value>1</value>") + "</counts>",
		strings.Repeat("<alias>0123456789</alias>", 200),
		"<places>" + entry("<What><labels>"+entry("<key>k</key><value><deep/></value>")+"</labels></What>") + "</places>",
	} {
		_, _, err := decode(t, g, o, thing(xml))
		if !errors.Is(err, awsxml.ErrLimit) {
			t.Errorf("%.40s: %v", xml, err)
		}
	}
}

func TestPathsThroughMaps(t *testing.T) {
	awsxml.WithForms(t)
	op, _ := awsxml.Describe(awsxml.FormsService, "ListThings")
	s, ok := op.Output.Path("Things.Places.Names")
	if !ok || s.Type() != awsxml.List {
		t.Errorf("%v", ok)
	}
	spec := awsxml.Spec{Op: "ListThings", Items: "Things", ID: []string{"Places.Id"}}
	if _, err := awsxml.Compile(formatOf(spec), spec); err == nil || !strings.Contains(err.Error(), "in a list or a map") {
		t.Errorf("an id in a map: %v", err)
	}
}
