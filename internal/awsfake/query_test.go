package awsfake

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Pages of RDS and services like it have the bounds of the API references, and a marker of its own list.
func TestQueryPages(t *testing.T) {
	a := New(Options{Seed: 3})
	c := a.AddAccount("111111111111", "aws")
	c.AddDatabases("eu-west-1", 60)
	ask := func(service, action string, form url.Values) (string, *apiError) {
		q := &request{
			service: service, action: action, region: "eu-west-1", form: form, call: new(Call),
			caller: &principal{account: c, arn: "arn:aws:iam::111111111111:user/u"},
		}
		out, err := a.query(q, queryServices[service])
		if err != nil {
			return "", err
		}
		return string(out.head), nil
	}
	count, marker, pages := 0, "", 0
	for pages == 0 || marker != "" {
		form := url.Values{"MaxRecords": {"20"}}
		if marker != "" {
			form.Set("Marker", marker)
		}
		doc, err := ask("rds", "DescribeDBInstances", form)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		count += strings.Count(doc, "<DBInstance>")
		_, rest, _ := strings.Cut(doc, "<Marker>")
		marker, _, _ = strings.Cut(rest, "</Marker>")
	}
	if count != 63 || pages != 4 {
		t.Errorf("%d instances in %d pages", count, pages)
	}
	for name, c := range map[string]struct {
		service, action string
		form            url.Values
		code            string
	}{
		"too small":   {"rds", "DescribeDBInstances", url.Values{"MaxRecords": {"19"}}, "InvalidParameterValue"},
		"too large":   {"redshift", "DescribeClusters", url.Values{"MaxRecords": {"101"}}, "InvalidParameterValue"},
		"marker":      {"elasticache", "DescribeCacheClusters", url.Values{"Marker": {"x"}}, "InvalidParameterValue"},
		"other call":  {"elasticache", "DeleteCacheCluster", nil, "InvalidAction"},
		"other lists": {"redshift", "DescribeDBInstances", nil, "InvalidAction"},
	} {
		_, err := ask(c.service, c.action, c.form)
		if err == nil || err.code != c.code || err.status != http.StatusBadRequest {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	c.Deny(Denial{Action: "rds:DescribeDB*"})
	_, err := ask("rds", "DescribeDBInstances", nil)
	if err == nil || !strings.Contains(err.message, "rds:DescribeDBInstances") {
		t.Errorf("denied: %v", err)
	}
}
