// Package mcp answers questions about the inventory to language models, by the Model Context Protocol: a client lists
// the tools and calls them. Each tool is a route of package api, asked within the program, so its answer is that of the
// API. Tools only read, and there are no sessions. Who may ask, and how many at once, is the business of package web.
// Begin at [New]; tools.go is the table of tools.
//
//	https://modelcontextprotocol.io/specification
package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/web/api"
)

const (
	maxBody     = 256 << 10 // of a request
	maxRows     = 100       // of an answer
	callTimeout = 50 * time.Second
)

// Options configure the server.
type Options struct {
	API     *api.API
	Kinds   query.Catalogue
	Version string // of the program
}

// New returns a handler of the protocol's Streamable HTTP transport. Each request is answered on its own, with JSON.
func New(o Options) (http.Handler, error) {
	document, err := parseContract(api.Contract())
	if err != nil {
		return nil, fmt.Errorf("read the contract of the API: %w", err)
	}
	table := tools()
	server := sdk.NewServer(
		&sdk.Implementation{Name: "collector", Title: "AWS inventory", Version: o.Version},
		// Without listChanged there is nothing to wait for, so a subscription ends at once.
		&sdk.ServerOptions{
			Instructions: instructions(o.Kinds), Capabilities: &sdk.ServerCapabilities{Tools: &sdk.ToolCapabilities{}},
		},
	)
	for i := range table {
		t := &table[i]
		spec, err := document.spec(t)
		if err != nil {
			return nil, fmt.Errorf("tool %s: %w", t.name, err)
		}
		server.AddTool(spec, func(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return t.call(ctx, o.API, r.Params.Arguments), nil
		})
	}
	return single(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server },
		&sdk.StreamableHTTPOptions{
			Stateless: true, JSONResponse: true,
			DisableLocalhostProtection: true, // package web checks the host of every route, with web.hosts
		})), nil
}

// A requestKey is the key of the context of an HTTP request. The SDK ends a call with its request only in the latest
// version of the protocol.
type requestKey struct{}

// single refuses batches: one could ask thousands of questions at once. The protocol has none since 2025-06-18.
func single(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
			http.Error(w, fmt.Sprintf("The body is longer than %d bytes.", maxBody), http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil {
			http.Error(w, "The body cannot be read.", http.StatusBadRequest)
			return
		}
		if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
			http.Error(w, "Batches are not supported: send one request at a time.", http.StatusBadRequest)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, r.Context()))
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// call asks the route of a tool. A refusal is an answer, too: the model reads it and can ask again.
func (t *tool) call(ctx context.Context, a *api.API, arguments json.RawMessage) *sdk.CallToolResult {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if request, ok := ctx.Value(requestKey{}).(context.Context); ok {
		defer context.AfterFunc(request, cancel)()
	}
	values, err := parseArguments(arguments)
	if err != nil {
		return failure(err.Error())
	}
	for _, name := range t.required {
		if values.Get(name) == "" {
			return failure(fmt.Sprintf("The argument %s is missing.", name))
		}
	}
	for name, defaults := range t.defaults {
		if len(values[name]) == 0 {
			values[name] = defaults
		}
	}
	if n, err := strconv.Atoi(values.Get(query.Limit.Name)); err == nil && n > maxRows {
		values.Set(query.Limit.Name, strconv.Itoa(maxRows))
	}
	body, ok := a.Ask(ctx, t.path, values)
	switch {
	case ok:
		return &sdk.CallToolResult{
			Content:           []sdk.Content{&sdk.TextContent{Text: string(body)}}, // for clients without structured content
			StructuredContent: json.RawMessage(body),
		}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return failure(fmt.Sprintf(
			"The answer took longer than %s. Ask about fewer accounts, regions or kinds.", callTimeout))
	}
	return failure(string(body))
}

func failure(text string) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: text}}, IsError: true}
}

// parseArguments returns the arguments of a call as the parameters of a URL. The API refuses unknown names.
func parseArguments(arguments json.RawMessage) (url.Values, error) {
	values := url.Values{}
	if len(arguments) == 0 {
		return values, nil
	}
	d := json.NewDecoder(bytes.NewReader(arguments))
	d.UseNumber()
	var given map[string]any
	if err := d.Decode(&given); err != nil {
		return nil, fmt.Errorf("the arguments are not a JSON object: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		list, isList := given[name].([]any)
		if !isList {
			list = []any{given[name]}
		}
		for _, v := range list {
			switch v := v.(type) {
			case nil:
			case bool, json.Number:
				values.Add(name, fmt.Sprint(v))
			case string:
				if isList && strings.ContainsAny(v, `,"`) {
					v = `"` + strings.ReplaceAll(v, `"`, `""`) + `"` // one value of a list that commas separate
				}
				values.Add(name, v)
			default:
				return nil, fmt.Errorf("argument %.100q: want text, a number, true or false, or a list of them", name)
			}
		}
	}
	return values, nil
}
