package config

import "testing"

func TestYAMLFromJSON(t *testing.T) {
	got, err := YAMLFromJSON([]byte(
		`[{"id":"i-1","size":8,"text":"8","yes":"true","none":null,"tags":{"z":"a: b","a":"two\nlines"},"empty":[]}]`))
	const want = `- id: i-1
  size: 8
  text: "8"
  yes: "true"
  none: null
  tags:
    z: 'a: b'
    a: |-
      two
      lines
  empty: []
`
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
	if _, err := YAMLFromJSON([]byte("{")); err == nil {
		t.Error("half a value is taken")
	}
}
