package config

import (
	"bytes"
	"errors"

	"gopkg.in/yaml.v3"
)

// YAMLFromJSON returns JSON as YAML with the same members in the same order, for people.
func YAMLFromJSON(text []byte) ([]byte, error) {
	var n yaml.Node // JSON is YAML, and a node keeps the order
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, err
	}
	blockStyle(&n)
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	err := errors.Join(e.Encode(&n), e.Close())
	return out.Bytes(), err
}

// blockStyle replaces the style of JSON. What would be read as another type without quotes keeps them.
func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		blockStyle(c)
	}
}
