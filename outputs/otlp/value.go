package otlp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
)

func textValue(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: s}}
}

func intValue(n int64) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: n}}
}

// anyValue converts JSON to OTLP. Objects keep the order of their members, whole numbers are integers if they fit into
// 64 bits, and null is an empty value.
func anyValue(b []byte) (*commonpb.AnyValue, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := nextValue(d)
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	return v, nil
}

func nextValue(d *json.Decoder) (*commonpb.AnyValue, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return kvlistValue(d)
		}
		return arrayValue(d)
	case string:
		return textValue(v), nil
	case bool:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}}, nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return intValue(n), nil
		}
		f, err := strconv.ParseFloat(v.String(), 64)
		if err != nil {
			return textValue(v.String()), nil // too large for a float: keep the digits
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: f}}, nil
	}
	return &commonpb.AnyValue{}, nil
}

func kvlistValue(d *json.Decoder) (*commonpb.AnyValue, error) {
	list := &commonpb.KeyValueList{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := nextValue(d)
		if err != nil {
			return nil, err
		}
		list.Values = append(list.Values, &commonpb.KeyValue{Key: key.(string), Value: v})
	}
	_, err := d.Token() // the closing bracket
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: list}}, err
}

func arrayValue(d *json.Decoder) (*commonpb.AnyValue, error) {
	list := &commonpb.ArrayValue{}
	for d.More() {
		v, err := nextValue(d)
		if err != nil {
			return nil, err
		}
		list.Values = append(list.Values, v)
	}
	_, err := d.Token()
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: list}}, err
}
