package outputstest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// Open opens an output with its default options, changed by set. The buffer gets its log.
func Open(t testing.TB, typ outputs.Type, set func(any)) (outputs.Output, *Buffer) {
	t.Helper()
	log := new(Buffer)
	o := typ.Options()
	set(o)
	if v, ok := o.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	out, err := typ.Open(context.Background(), o, outputs.Deps{
		Log: slog.New(slog.NewTextHandler(log, nil)), Kind: KindInfo,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := out.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return out, log
}

// KindInfo is what the catalogue says of the kinds in the tests' records.
func KindInfo(kind string) record.KindInfo {
	short := map[string]string{
		"ec2_instance": "instance", "ec2_volume": "volume", "ec2_nat_gateway": "nat_gateway", "ec2_vpc": "vpc",
		"ec2_vpc_peering_connection": "vpc_peering_connection", "ec2_launch_template": "launch_template",
	}
	info := record.KindInfo{ShortName: short[kind], State: []string{"State"}}
	switch kind {
	case "ec2_instance":
		info.State, info.Type = []string{"State.Name"}, []string{"InstanceType"}
	case "ec2_volume":
		info.Type = []string{"VolumeType"}
	}
	return info
}

const (
	Canary  = "canary/K7MDENG/EXAMPLEKEY"
	Escaped = "canary%2FK7MDENG%2FEXAMPLEKEY"
)

// OpenDirect opens an output of a type with its defaults, changed by set.
func OpenDirect(t *testing.T, typ outputs.Type, set func(any), stdout *Buffer) outputs.Output {
	t.Helper()
	o := typ.Options()
	if set != nil {
		set(o)
	}
	out, err := typ.Open(t.Context(), o, outputs.Deps{Stdout: stdout, Kind: KindInfo})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
