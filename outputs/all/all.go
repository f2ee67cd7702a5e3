// Package all lists the types of outputs. It is apart from package outputs, which defines what a type is, because the
// list imports every type.
package all

import (
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/datakit"
	"github.com/aws-collector/collector/outputs/file"
	"github.com/aws-collector/collector/outputs/http"
	"github.com/aws-collector/collector/outputs/httpsd"
	"github.com/aws-collector/collector/outputs/influx"
	"github.com/aws-collector/collector/outputs/kafka"
	"github.com/aws-collector/collector/outputs/otlp"
	"github.com/aws-collector/collector/outputs/prometheus"
	"github.com/aws-collector/collector/outputs/s3"
	"github.com/aws-collector/collector/outputs/stdout"
)

// Types lists every output, sorted by name.
var Types = []outputs.Type{
	datakit.Type,
	file.Type,
	http.Type,
	httpsd.Type,
	influx.Type,
	kafka.Type,
	otlp.Type,
	prometheus.Type,
	s3.Type,
	stdout.Type,
}
