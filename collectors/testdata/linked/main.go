// Command linked is built by a test that checks which code it contains: if a program executes a template, the linker
// keeps every method of every type that is reachable from an interface value.
package main

import (
	"fmt"
	"os"
	"text/template"

	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/record"
)

func main() {
	l, err := collectors.New(collectors.Options{Pages: record.NewPagePool(1, 1)})
	if err == nil {
		err = template.Must(template.New("").Parse("{{.}}")).Execute(os.Stdout, l)
	}
	fmt.Println(l, err)
}
