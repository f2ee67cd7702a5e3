// Package collectors knows which kinds there are and lists one of them. A kind is a row of data in [Kinds]; [Lister.List]
// is the only page loop of the program.
//
// It leaves to others: when and how often (runner), who signs in (auth), where records go (outputs). It imports
// service/ec2 through internal/ec2call alone, and EC2's XML through internal/ec2xml.
package collectors

import (
	"slices"
	"sort"
	"strings"

	"github.com/aws-collector/collector/collectors/internal/ec2xml"
)

//go:generate go run ./internal/kindsdoc -o ../docs/kinds.md

// A Kind is a row of the catalogue: data, and nothing but data. Members are named as the AWS CLI names them; a path is
// dotted, and the elements of a list on the way are implied.
type Kind struct {
	Name string // "ec2_volume": in configuration, metric labels and records
	Op   string // "DescribeVolumes": the API, and with "ec2:" before it the IAM action

	Items   string // path of the item list, or of the structure that is the one item: "Reservations.Instances"
	ID      string // a member, or several joined by "/" where AWS gives none of its own
	ConstID string // the id where there is one in an account and region, without an id of its own
	NamedBy string // the member that is the record's name; the tag Name if ""

	Max    int               // MaxResults, sent with every page; 0 where the API has none
	Params map[string]string // what else the request needs, in EC2's wire spelling: Owner.1=self

	Parent      string // the kind whose ids this one is asked for, one by one
	ParentParam string // the wire name of the input that takes the parent's id
	Global      bool   // one region speaks for the account
	AbsentCode  string // the error code by which the API says "none"

	Volatile  []string // left out of change detection
	Sensitive []string // a keyed digest unless configured
	Ordered   []string // lists whose order means something; any other is compared as a multiset

	Refill float64 // calls a second that EC2 refills, where AWS documents a bucket of its own; else 0: see Budget
	Burst  int
}

// KindNamed finds a kind by its name.
func KindNamed(name string) (*Kind, bool) {
	i := sort.Search(len(Kinds), func(i int) bool { return Kinds[i].Name >= name })
	if i == len(Kinds) || Kinds[i].Name != name {
		return nil, false
	}
	return &Kinds[i], true
}

// Service is the AWS service that a kind belongs to: the first word of its name.
func (k *Kind) Service() string { s, _, _ := strings.Cut(k.Name, "_"); return s }

// Action is the IAM action that a listing needs.
func (k *Kind) Action() string { return k.Service() + ":" + k.Op }

// DocURL is AWS's page of the operation.
func (k *Kind) DocURL() string {
	return "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_" + k.Op + ".html"
}

// Budget is AWS's documented refill (calls a second) and burst of the kind's API in one account and region: 20 and 100,
// unless the row says otherwise. Seven APIs have 10 and 50 where a call has neither a filter nor MaxResults, which
// theirs always have.
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
func (k *Kind) Budget() (refill float64, burst int) {
	if k.Refill > 0 {
		return k.Refill, k.Burst
	}
	return 20, 100
}

// ParentsFirst sorts kinds so that each comes after its parent, and by name otherwise.
func ParentsFirst(kinds []*Kind) {
	slices.SortFunc(kinds, func(a, b *Kind) int {
		if (a.Parent == "") != (b.Parent == "") {
			if a.Parent == "" {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// spec is the row as the decoder needs it.
func (k *Kind) spec() ec2xml.Spec {
	s := ec2xml.Spec{Op: k.Op, Items: k.Items, ConstID: k.ConstID, Name: k.NamedBy,
		Volatile: k.Volatile, Sensitive: k.Sensitive, Ordered: k.Ordered}
	if k.ID != "" {
		s.ID = strings.Split(k.ID, "/")
	}
	return s
}
