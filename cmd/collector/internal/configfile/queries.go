package configfile

import (
	"errors"
	"net/url"
	"time"

	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/query"
)

// checkQuery parses the flags of a saved query as the command line does.
func checkQuery(flags map[string]string) map[string]error {
	var kinds query.Catalogue
	for i := range collectors.Kinds {
		kinds = append(kinds, query.KindLine{Kind: collectors.Kinds[i].Name, Service: collectors.Kinds[i].Service().Name})
	}
	parameters := query.OfList()
	values := query.Saved(flags, parameters, url.Values{})
	_, err := query.Parse(values, parameters, query.Options{Now: time.Now(), Kinds: kinds})
	wrong := map[string]error{}
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return wrong
	}
	for _, err := range joined.Unwrap() {
		var of *query.Error
		if errors.As(err, &of) {
			wrong[of.Parameter.FlagName()] = of.Err
		}
	}
	return wrong
}
