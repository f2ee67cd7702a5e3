package importers

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// readEC2SD makes a block of each ec2_sd_config, and an http_sd output for each job.
// https://prometheus.io/docs/prometheus/latest/configuration/configuration/#ec2_sd_config
func readEC2SD(b *builder, text []byte) error {
	docs, err := documents(text)
	if err != nil {
		return err
	}
	if len(docs) == 0 {
		return errors.New("is empty")
	}
	top := docs[0]
	jobs := top.at("scrape_configs").items()
	if len(jobs) == 0 {
		jobs = top.items() // the value of scrape_configs alone
	}
	for _, job := range jobs {
		configs := job.at("ec2_sd_configs").items()
		if len(configs) == 0 {
			continue
		}
		name := job.at("job_name").text()
		port := 80 // Prometheus's default
		for _, c := range configs {
			b.ec2SDConfig(c)
			if p, err := strconv.Atoi(c.at("port").text()); err == nil {
				port = p
			}
		}
		b.out.Outputs = append(b.out.Outputs, output{
			Type: "http_sd", Name: urlName(name), Port: port, Where: b.ec2Condition(configs),
		})
		b.advise(configs[0].line(), "ec2_sd_configs of job "+name, "in Prometheus, replace it by http_sd_configs: "+
			"[{url: http://localhost:9420/api/v1/sd/"+urlName(name)+"}]; the __meta_ec2_ labels are the same")
	}
	return nil
}

// urlName is a name for the last part of a URL.
func urlName(s string) string {
	out := []byte(s)
	for i, c := range out {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			out[i] = '-'
		}
	}
	if len(out) == 0 {
		return "ec2"
	}
	return string(out)
}

func (b *builder) ec2SDConfig(c node) {
	var a block
	a.Profile, a.RoleARN, a.ExternalID = c.at("profile").text(), c.at("role_arn").text(), c.at("external_id").text()
	if key := c.at("access_key"); key.exists() {
		a.AKID = key.text()
		secret := c.at("secret_key")
		a.AKSecret = b.secret(secret.line(), "", "ak_secret", secret.text())
	}
	if every := c.at("refresh_interval").text(); every != "" {
		b.out.Schedule = "@every " + every
	}
	var regions []string
	if r := c.at("region").text(); r != "" {
		regions = []string{r}
	}
	a.Collect = newCollect(regions, []string{"ec2_instance"})
	if a.AKID+a.Profile+a.RoleARN == "" {
		a.Name = "default"
	}
	b.add(a)
	const noProxy = "collector takes proxies from HTTPS_PROXY and checks AWS's own certificates"
	b.noteOthers(c, "", []string{
		"region", "access_key", "secret_key", "profile", "role_arn", "external_id", "refresh_interval", "port", "filters",
	}, map[string]string{
		"endpoint":   "set AWS_ENDPOINT_URL_EC2 in the environment",
		"proxy_url":  noProxy,
		"tls_config": noProxy,
		"no_proxy":   noProxy,
	})
}

// ec2Condition is the condition of an http_sd output that chooses what the filters of any of the configurations choose;
// "": there are none. The accounts are listed without filters.
func (b *builder) ec2Condition(configs []node) string {
	var all []string
	filtered := false
	for _, c := range configs {
		condition := b.ec2Filters(c)
		filtered = filtered || condition != ""
		region := c.at("region").text()
		switch {
		case len(configs) == 1:
			return condition
		case !conditionWord.MatchString(region):
			return "" // the filters are not those of one region
		case condition != "":
			condition = " and " + condition
		}
		all = append(all, "(region="+region+condition+")")
	}
	if !filtered {
		return ""
	}
	return strings.Join(all, " or ")
}

func (b *builder) ec2Filters(c node) string {
	var all []string
	for _, f := range c.at("filters").items() {
		name, values := f.at("name").text(), f.at("values").texts()
		field, isTag := strings.CutPrefix(name, "tag:")
		switch {
		case isTag && conditionWord.MatchString(field):
			field = "tags." + field
		case name == "instance-state-name":
			field = "state"
		case name == "instance-type":
			field = "type"
		default:
			field = ""
		}
		plain := !slices.ContainsFunc(values, func(v string) bool { return !conditionWord.MatchString(v) })
		if field == "" || len(values) == 0 || !plain {
			b.note(f.line(), "filter "+name, "every instance is collected; write the condition in where of the output")
			continue
		}
		all = append(all, field+" in ("+strings.Join(values, ", ")+")")
	}
	return strings.Join(all, " and ")
}

// conditionWord is a word that needs no quotes in a condition.
var conditionWord = regexp.MustCompile(`^[\w.-]+$`)
