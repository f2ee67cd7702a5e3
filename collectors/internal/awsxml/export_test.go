package awsxml

// FormsService is a service that exists only in tests. Its tables have the forms that few services use, or none.
const FormsService = "forms"

const formsTables = `@ListThings
NextToken s
Things/thing [+]Thing
=Thing
Attributes {}s
Counts {}i
Flags/flag [+]b
Id s
Limits/limit {+Name,Value}i
Names/alias [+]s
Parts/part [+]Part
Places {Where,What}Part
Secrets/secret [+]s
=Part
Id s
Labels {}s
Names []s
`

// WithForms adds the service to those with tables until a test ends.
func WithForms(t interface {
	Helper()
	Cleanup(func())
}) {
	t.Helper()
	services[FormsService] = func() operations { return parseTables(formsTables) }
	t.Cleanup(func() { delete(services, FormsService) })
}
