package web

import "net/http"

// mcpPath is where the Model Context Protocol is served.
const mcpPath = "/mcp"

// withMCP serves the Model Context Protocol, and passes other requests to next. A page of another site cannot use it
// through a browser on this machine: neither its Origin nor its Host is allowed.
//
//	https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#security-warning
func (s *Server) withMCP(next http.Handler) http.Handler {
	if s.o.MCP == nil {
		return next
	}
	protocol := http.NewCrossOriginProtection().Handler(newAdmission().wrap(s.o.MCP))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == mcpPath {
			protocol.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
