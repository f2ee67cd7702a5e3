// Command kindsdoc writes docs/kinds.md from the catalogue. It is run by go generate ./collectors.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"

	"github.com/aws-collector/collector/collectors"
)

func main() {
	out := flag.String("o", "", "file to write")
	flag.Parse()
	var b bytes.Buffer
	collectors.WriteDoc(&b)
	if err := os.WriteFile(*out, b.Bytes(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "kindsdoc:", err)
		os.Exit(1)
	}
}
