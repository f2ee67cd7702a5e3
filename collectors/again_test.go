package collectors

import (
	"strings"
	"testing"

	"github.com/aws-collector/collector/record"
)

// A page that is refused because a resource was deleted meanwhile is asked for once more.
func TestLostRace(t *testing.T) {
	gone := refuse(400, "InvalidVolume.NotFound", "The volume 'vol-9' does not exist.")
	h := newTestLister(t, Options{}, gone, text(volumes("a", "vol-1")), gone, text(volumes("", "vol-2")))
	pages, _, err := h.list(kind(t, "ec2_volume"), "")
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "ids", pages, [][]string{{"vol-1"}, {"vol-2"}})
	wantEqual(t, "tokens", h.tokens(), []string{"", "", "a", "a"})
}

// A listing whose token is refused begins anew, once. It delivers no id twice.
func TestTokenRefused(t *testing.T) {
	for _, code := range []string{"InvalidNextToken", "InvalidPaginationToken", "InvalidParameterValue"} {
		no := refuse(400, code, "The token is not valid.")
		h := newTestLister(t, Options{}, text(volumes("a", "vol-1", "vol-2")), no,
			text(volumes("a", "vol-0", "vol-1")), text(volumes("", "vol-3")))
		pages, st, err := h.list(kind(t, "ec2_volume"), "")
		if err != nil {
			t.Fatalf("%s: %v", code, err)
		}
		wantEqual(t, "ids", pages, [][]string{{"vol-1", "vol-2"}, {"vol-0"}, {"vol-3"}})
		wantEqual(t, "tokens", h.tokens(), []string{"", "a", "", "a"})
		wantEqual(t, "stats", st, record.ListStats{Pages: 3, Records: 4, Duplicates: 1})

		h = newTestLister(t, Options{}, text(volumes("a", "vol-1")), no, text(volumes("a", "vol-1")), no)
		_, st, err = h.list(kind(t, "ec2_volume"), "")
		if record.StateOf(err, st.Records) != record.Partial || record.HintOf(err) == "" || len(h.forms) != 4 {
			t.Errorf("%s again: %v after %d calls", code, err, len(h.forms))
		}
		h = newTestLister(t, Options{}, no)
		if _, _, err = h.list(kind(t, "ec2_volume"), ""); err == nil || len(h.forms) != 1 {
			t.Errorf("%s of the first page: %v after %d calls", code, err, len(h.forms))
		}
	}
}

// Each error that EC2 documents as common has a reason and a hint, and its text is AWS's.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func TestCommonErrors(t *testing.T) {
	for _, code := range []string{
		"AuthFailure", "Blocked", "IdempotentParameterMismatch", "IncompleteSignature", "InvalidAction", "InvalidCharacter",
		"InvalidClientTokenId", "InvalidNextToken", "InvalidPaginationToken", "InvalidParameter",
		"InvalidParameterCombination", "InvalidParameterValue", "InvalidQueryParameter", "MalformedQueryString",
		"MissingAction", "MissingAuthenticationToken", "MissingParameter", "OptInRequired", "PendingVerification",
		"RequestExpired", "SignatureDoesNotMatch", "UnauthorizedOperation", "UnknownParameter",
		"UnsupportedInstanceAttribute", "UnsupportedOperation", "UnsupportedProtocol", "ValidationError",
		"BandwidthLimitExceeded", "InsufficientCapacity", "InternalError", "InternalFailure", "RequestLimitExceeded",
		"ServiceUnavailable", "Unavailable",
	} {
		h := newTestLister(t, Options{Attempts: 1}, refuse(400, code, "some words"))
		o := h.callOptions(kind(t, "ec2_volume"), "us-east-1")
		_, err := h.l.each(t.Context(), o, kind(t, "ec2_volume"), "", nil)
		if r := record.ReasonOf(err); r == record.Other || record.HintOf(err) == "" ||
			!strings.HasPrefix(err.Error(), "list ec2_volume in us-east-1: "+code+": some words") {
			t.Errorf("%s: reason %s, hint %q: %v", code, r, record.HintOf(err), err)
		}
	}
	h := newTestLister(t, Options{Attempts: 1}, refuse(400, "Novel", "some words"))
	if _, _, err := h.list(kind(t, "ec2_volume"), ""); !strings.Contains(record.HintOf(err), "Look up Novel") {
		t.Errorf("hint %q", record.HintOf(err))
	}
	for name, a := range map[string]response{
		"a page of markup": text("hello"), "half a body": truncated(volumes("", "vol-1")),
	} {
		h := newTestLister(t, Options{Attempts: 2}, a)
		_, _, err := h.list(kind(t, "ec2_volume"), "")
		for _, of := range []string{"StatusCode", "RequestID", "operation error", "exceeded maximum"} {
			if err == nil || strings.Contains(err.Error(), of) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A resource that cannot be read costs only itself. Without its id, the target is partial, even if nothing else came.
func TestSetAside(t *testing.T) {
	bell := strings.Replace(volumes("a", "vol-1", "vol-2"), "<value>data<", "<value>&#x7;<", 1)
	h := newTestLister(t, Options{}, text(bell), text(volumes("", "vol-3")))
	k := kind(t, "ec2_volume")
	var aside record.SetAside
	var ids []string
	st, err := h.l.each(t.Context(), h.callOptions(k, "eu-west-1"), k, "", func(p *record.Page) error {
		aside.Add(p.SetAside())
		for v := range p.Views() {
			ids = append(ids, strings.Trim(string(v.ID()), `"`))
		}
		return nil
	})
	if err != nil || st.Records != 2 {
		t.Fatalf("%+v, %v", st, err)
	}
	wantEqual(t, "ids", ids, []string{"vol-2", "vol-3"})
	wantEqual(t, "set aside", aside.IDs, []string{"vol-1"})

	for _, volumeIDs := range [][]string{{"", "vol-2"}, {""}} {
		h = newTestLister(t, Options{}, text(volumes("a", volumeIDs...)), text(volumes("", "vol-3")))
		pages, st, err := h.list(k, "")
		if len(pages[len(pages)-1]) != 1 || record.StateOf(err, 0) != record.Partial || record.HintOf(err) == "" ||
			record.ReasonOf(err) != record.BadAnswer || !strings.Contains(err.Error(), `the name "data"`) {
			t.Errorf("%v, %+v, %v", pages, st, err)
		}
	}
}
