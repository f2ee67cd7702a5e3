// Package collectors holds the catalogue of kinds and lists them. A kind is a row of data in [Kinds], its service one
// in [Services]; [Lister.List] is the only page loop of the program. Begin there.
//
// Other packages decide when to list (runner), how to sign in (auth) and where records go (outputs). Only
// internal/call uses service/ec2; internal/awsxml decodes EC2's XML.
package collectors

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/record"
)

//go:generate go run ./internal/kindsdoc -o ../docs/kinds.md

// A Kind is a row of the catalogue, without code. Members have the names that the AWS CLI uses. A path is dotted and
// passes through lists without naming their elements.
type Kind struct {
	Name string // "ec2_volume": in configuration, metric labels and records
	Op   string // "DescribeVolumes": the API and, after the service's prefix, the IAM action

	Items   string // path of the item list, or of a structure that is the only item: "Reservations.Instances"
	ID      string // a member, or several joined by "/" if AWS has no id
	ConstID string // the id of a kind with one resource in an account and region and without an id member
	NamedBy string // the member with the record's name; "": the tag Name
	// The members with the state and the type, texts. If two are separated by |, the first that is not empty counts.
	State, Type string

	Max    int               // size of every page; 0 if the API has none
	Params map[string]string // other request parameters, in the service's wire spelling: Owner.1=self

	Parent      string // the kind for each of whose ids this one is listed
	ParentParam string // the wire name of the input for the parent's id
	// ParentInData is set if the response does not have the parent's id: records get it as the member ParentParam.
	ParentInData bool
	Global       bool   // every region lists the same resources
	AbsentCode   string // the error code that means "none"

	Escaped   []string // members of ID in which "/" is written %2F and % as %25, because others may have a "/", too
	Volatile  []string // ignored by change detection
	Sensitive []string // replaced by a keyed digest unless configured otherwise
	Documents []string // JSON texts in URL encoding: they become JSON, as the AWS CLI prints them
	Ordered   []string // lists whose order matters; others are compared as multisets

	Refill float64 // calls a second, if AWS documents a bucket for the API; else 0: the service's
	Burst  int

	TagsBy *TagsBy // nil: the response has the tags, or there are none
}

// Kinds are all kinds, sorted by name. They are never modified. To add one, add a row to its service's: see
// CONTRIBUTING.md.
var Kinds = slices.Concat(
	autoscalingKinds, cloudformationKinds, ec2Kinds, elasticacheKinds, elbKinds, elbv2Kinds, iamKinds, rdsKinds,
	redshiftKinds,
)

// KindNamed finds a kind by its name.
func KindNamed(name string) (*Kind, bool) {
	i := sort.Search(len(Kinds), func(i int) bool { return Kinds[i].Name >= name })
	if i == len(Kinds) || Kinds[i].Name != name {
		return nil, false
	}
	return &Kinds[i], true
}

// Action is the IAM action of the operation that lists the kind.
func (k *Kind) Action() string { return k.actionOf(k.Op) }

// Actions are all IAM actions that a listing needs: that of [Kind.Action], and of the operation that returns tags.
func (k *Kind) Actions() []string {
	if k.TagsBy == nil {
		return []string{k.Action()}
	}
	return []string{k.Action(), k.actionOf(k.TagsBy.Op)}
}

func (k *Kind) actionOf(op string) string { return k.Service().IAMPrefix + ":" + op }

// DocURL is AWS's page of the operation.
func (k *Kind) DocURL() string { return k.Service().DocURL + k.Op + ".html" }

// Budget returns AWS's documented refill rate (calls a second) and burst of the kind's API in one account and region:
// the row's own, else the service's.
func (k *Kind) Budget() (refill float64, burst int) {
	if k.Refill > 0 {
		return k.Refill, k.Burst
	}
	s := k.Service()
	return s.Refill, s.Burst
}

// ParentsFirst sorts kinds so that each comes after its parent, and by name otherwise.
func ParentsFirst(kinds []*Kind) {
	slices.SortFunc(kinds, func(a, b *Kind) int {
		return cmp.Or(cmp.Compare(a.Depth(), b.Depth()), strings.Compare(a.Name, b.Name))
	})
}

// Depth is how many kinds are above the kind: 0 for one without a parent.
func (k *Kind) Depth() int {
	depth := 0
	for k.Parent != "" {
		k, _ = KindNamed(k.Parent)
		depth++
	}
	return depth
}

// operation returns the kind's operation from the tables.
func (k *Kind) operation() (awsxml.Operation, bool) {
	return awsxml.Describe(k.Service().format.Service, k.Op)
}

// compile compiles the decoder of the kind's responses.
func (k *Kind) compile() (*awsxml.Program, error) {
	return awsxml.Compile(k.Service().format, k.spec())
}

// Info returns what other packages know of the kind.
func (k *Kind) Info() record.KindInfo {
	return record.KindInfo{ShortName: ShortKind(k.Name), State: alternatives(k.State), Type: alternatives(k.Type)}
}

// InfoOf returns [Kind.Info] of the kind with a name. A name that the catalogue does not contain, as of a record that
// another release wrote, has neither state nor type.
func InfoOf(name string) record.KindInfo {
	if k, ok := KindNamed(name); ok {
		return k.Info()
	}
	return record.KindInfo{ShortName: ShortKind(name)}
}

// alternatives returns the members of a State or Type.
func alternatives(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "|")
}

// spec returns the decoder's specification of the kind.
func (k *Kind) spec() awsxml.Spec {
	s := awsxml.Spec{Op: k.Op, Items: k.Items, ConstID: k.ConstID, Name: k.NamedBy,
		State: alternatives(k.State), Type: alternatives(k.Type),
		Escaped: k.Escaped, Volatile: k.Volatile, Sensitive: k.Sensitive, Documents: k.Documents, Ordered: k.Ordered}
	if k.ParentInData {
		s.Under = k.ParentParam
	}
	if k.TagsBy != nil {
		s.TagsBy = k.TagsBy.Name
	}
	if k.ID != "" {
		s.ID = strings.Split(k.ID, "/")
	}
	return s
}
