package api

import (
	_ "embed"
	"net/http"
)

// openapi.json is made from the table of routes and the types of answers, by a test.
//
//go:embed openapi.json
var contract []byte

func (*API) openAPI(w http.ResponseWriter, r *request) error {
	writeCacheable(w, r, contract)
	return nil
}
