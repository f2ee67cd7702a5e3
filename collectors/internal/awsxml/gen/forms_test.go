package main

import (
	"encoding/json"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// apiFiles are what both forms of clients have in common: the input types, in the files of the operations.
var apiFiles = map[string]string{
	"api_op_GetCounts.go": `package things
type GetCountsInput struct { noSmithyDocumentSerde }
type GetCountsOutput struct { Counts map[string]int32 }`,
	"api_op_ListThings.go": `package things
type ListThingsInput struct {
	// This member is required.
	Kind *string
	Limits map[string]string
	MaxRecords *int32
	noSmithyDocumentSerde
}
type ListThingsPaginator struct{}`,
	"api_op_PutThing.go": `package things
type PutThingInput struct{}`,
}

// deserializerFiles is a client with deserializers.go.
var deserializerFiles = map[string]string{
	"serializers.go": `package things
func awsAwsquery_serializeOpDocumentListThingsInput(v *ListThingsInput, value query.Value) error {
	if v.Kind != nil {
		objectKey := object.Key("Type")
		objectKey.String(*v.Kind)
	}
	if v.Limits != nil {
		objectKey := object.Key("Limits")
		awsAwsquery_serializeDocumentLimits(v.Limits, objectKey)
	}
	if v.MaxRecords != nil {
		objectKey := object.Key("MaxRecords")
		objectKey.Integer(*v.MaxRecords)
	}
	return nil
}`,
	"deserializers.go": `package things
func awsAwsquery_deserializeOpDocumentGetCountsOutput(v **GetCountsOutput, decoder Decoder) error {
	switch {
	case strings.EqualFold("Counts", t.Name.Local):
		nodeDecoder := smithyxml.WrapNodeDecoder(decoder.Decoder, t)
		if err := awsAwsquery_deserializeDocumentCounts(&sv.Counts, nodeDecoder); err != nil { return err }
	}
	return nil
}
func awsAwsquery_deserializeOpDocumentListThingsOutput(v **ListThingsOutput, decoder Decoder) error {
	switch {
	case strings.EqualFold("Things", t.Name.Local):
		nodeDecoder := smithyxml.WrapNodeDecoder(decoder.Decoder, t)
		if err := awsAwsquery_deserializeDocumentThings(&sv.Things, nodeDecoder); err != nil { return err }
	case strings.EqualFold("Next", t.Name.Local):
		{
			xtv := string(val)
			sv.NextToken = ptr.String(xtv)
		}
	}
	return nil
}
func awsAwsquery_deserializeOpDocumentPutThingOutput(v **PutThingOutput, decoder Decoder) error { return nil }
func awsAwsquery_deserializeDocumentThings(v *[]types.Thing, decoder Decoder) error {
	switch {
	case strings.EqualFold("Thing", t.Name.Local):
		var col types.Thing
		destAddr := &col
		nodeDecoder := smithyxml.WrapNodeDecoder(decoder.Decoder, t)
		if err := awsAwsquery_deserializeDocumentThing(&destAddr, nodeDecoder); err != nil { return err }
		col = *destAddr
	}
	return nil
}
func awsAwsquery_deserializeDocumentThing(v **types.Thing, decoder Decoder) error {
	switch {
	case strings.EqualFold("Enabled", t.Name.Local):
		{
			xtv, err := strconv.ParseBool(string(val))
			sv.Enabled = xtv
		}
	case strings.EqualFold("Count", t.Name.Local):
		{
			xtv := string(val)
			i64, err := strconv.ParseInt(xtv, 10, 64)
			sv.Count = ptr.Int32(int32(i64))
		}
	case strings.EqualFold("Kind", t.Name.Local):
		{
			xtv := string(val)
			sv.Kind = types.Kind(xtv)
		}
	case strings.EqualFold("Names", t.Name.Local):
		nodeDecoder := smithyxml.WrapNodeDecoder(decoder.Decoder, t)
		if err := awsAwsquery_deserializeDocumentNames(&sv.Names, nodeDecoder); err != nil { return err }
	case strings.EqualFold("Alias", t.Name.Local):
		nodeDecoder := smithyxml.WrapNodeDecoder(decoder.Decoder, t)
		if err := awsAwsquery_deserializeDocumentNamesUnwrapped(&sv.Aliases, nodeDecoder); err != nil { return err }
	case strings.EqualFold("Parts", t.Name.Local):
		nodeDecoder := smithyxml.WrapNodeDecoder(decoder.Decoder, t)
		if err := awsAwsquery_deserializeDocumentThings(&sv.Parts, nodeDecoder); err != nil { return err }
	case strings.EqualFold("Places", t.Name.Local):
		nodeDecoder := smithyxml.WrapNodeDecoder(decoder.Decoder, t)
		if err := awsAwsquery_deserializeDocumentPlaces(&sv.Places, nodeDecoder); err != nil { return err }
	case strings.EqualFold("Place", t.Name.Local):
		nodeDecoder := smithyxml.WrapNodeDecoder(decoder.Decoder, t)
		if err := awsAwsquery_deserializeDocumentPlacesUnwrapped(&sv.FlatPlaces, nodeDecoder); err != nil { return err }
	case strings.EqualFold("Source", t.Name.Local):
		nodeDecoder := smithyxml.WrapNodeDecoder(decoder.Decoder, t)
		if err := awsAwsquery_deserializeDocumentSource(&sv.Source, nodeDecoder); err != nil { return err }
	}
	return nil
}
func awsAwsquery_deserializeDocumentSource(v *types.Source, decoder Decoder) error {
	switch {
	case strings.EqualFold("file", t.Name.Local):
		var mv string
		{
			xtv := string(val)
			mv = xtv
		}
		uv = &types.SourceMemberFile{Value: mv}
	}
	return nil
}
func awsAwsquery_deserializeDocumentNames(v *[]string, decoder Decoder) error {
	switch {
	case strings.EqualFold("member", t.Name.Local):
		{
			xtv := string(val)
			col = xtv
		}
	}
	return nil
}
func awsAwsquery_deserializeDocumentCounts(v *map[string]int32, decoder Decoder) error { return nil }
func awsAwsquery_deserializeDocumentCountsUnwrapped(v *map[string]int32, decoder Decoder) error {
	switch {
	case strings.EqualFold("key", t.Name.Local):
		{
			xtv := string(val)
			ek = types.Key(xtv)
		}
	case strings.EqualFold("value", t.Name.Local):
		{
			xtv := string(val)
			i64, err := strconv.ParseInt(xtv, 10, 64)
			ev = int32(i64)
		}
	}
	return nil
}
func awsAwsquery_deserializeDocumentPlaces(v *map[string]types.Thing, decoder Decoder) error { return nil }
func awsAwsquery_deserializeDocumentPlacesUnwrapped(v *map[string]types.Thing, decoder Decoder) error {
	switch {
	case strings.EqualFold("Where", t.Name.Local):
		{
			xtv := string(val)
			ek = xtv
		}
	case strings.EqualFold("What", t.Name.Local):
		destAddr := &ev
		if err := awsAwsquery_deserializeDocumentThing(&destAddr, nodeDecoder); err != nil { return err }
		ev = *destAddr
	}
	return nil
}`,
}

// schemaFiles is a client with schemas of the same service.
var schemaFiles = map[string]string{
	"api_client.go": `package things
import "github.com/aws/smithy-go/transport/http/protocol/awsquery"`,
	"api_op_GetCounts.go": `package things
type GetCountsInput struct { noSmithyDocumentSerde }
var _ = smithy.NewOperationSchema(schemas.GetCounts, nil, schemas.GetCountsAnswer)`,
	"api_op_ListThings.go": apiFiles["api_op_ListThings.go"] + `
var _ = smithy.NewOperationSchema(schemas.ListThings, schemas.ListThingsType, schemas.ThingsType)`,
	"api_op_PutThing.go": apiFiles["api_op_PutThing.go"] + `
var _ = smithy.NewOperationSchema(schemas.PutThing, nil, nil)`,
	"schemas/schemas.go": `package schemas
var _String = smithy.NewSchema(smithy.ShapeID{Name: "String"}, smithy.ShapeTypeString, 0)
var Key = smithy.NewSchema(smithy.ShapeID{Name: "Key"}, smithy.ShapeTypeEnum, 0)
var _Names = smithy.NewSchema(smithy.ShapeID{Name: "Names"}, smithy.ShapeTypeList, 1)
var _Things = smithy.NewSchema(smithy.ShapeID{Name: "Things"}, smithy.ShapeTypeList, 1)
var _Counts = smithy.NewSchema(smithy.ShapeID{Name: "Counts"}, smithy.ShapeTypeMap, 2)
var _Places = smithy.NewSchema(smithy.ShapeID{Name: "Places"}, smithy.ShapeTypeMap, 2)
var Source = smithy.NewSchema(smithy.ShapeID{Name: "Source"}, smithy.ShapeTypeUnion, 1)
var Thing = smithy.NewSchema(smithy.ShapeID{Name: "thing"}, smithy.ShapeTypeStructure, 8)
var Thing_Enabled *smithy.Schema
var ListThingsType = smithy.NewSchema(smithy.ShapeID{Name: "ListThingsType"}, smithy.ShapeTypeStructure, 3)
var ThingsType = smithy.NewSchema(smithy.ShapeID{Name: "ThingsType"}, smithy.ShapeTypeStructure, 2)
var GetCountsAnswer = smithy.NewSchema(smithy.ShapeID{Name: "GetCountsAnswer"}, smithy.ShapeTypeStructure, 1)

func init() {
	a = _Names.AddMember("member", _String)
	a = _Things.AddMember("member", Thing, &smithytraits.XMLName{Name: "Thing"})
	a = _Counts.AddMember("key", Key)
	a = _Counts.AddMember("value", smithyprelude.Integer)
	a = _Places.AddMember("key", _String, &smithytraits.XMLName{Name: "Where"})
	a = _Places.AddMember("value", Thing, &smithytraits.XMLName{Name: "What"})
	a = Source.AddMember("file", _String)
	Thing_Enabled = Thing.AddMember("enabled", smithyprelude.PrimitiveBoolean, &smithytraits.XMLName{Name: "Enabled"})
	a = Thing.AddMember("Count", smithyprelude.Integer)
	a = Thing.AddMember("Kind", Key, &smithytraits.Sensitive{})
	a = Thing.AddMember("Names", _Names)
	a = Thing.AddMember("Aliases", _Names, &smithytraits.XMLFlattened{}, &smithytraits.XMLName{Name: "Alias"})
	a = Thing.AddMember("Parts", _Things)
	a = Thing.AddMember("Places", _Places)
	a = Thing.AddMember("FlatPlaces", _Places, &smithytraits.XMLName{Name: "Place"}, &smithytraits.XMLFlattened{})
	a = Thing.AddMember("Source", Source)
	a = ListThingsType.AddMember("Kind", Key, &smithytraits.XMLName{Name: "Type"})
	a = ListThingsType.AddMember("Limits", _Counts)
	a = ListThingsType.AddMember("MaxRecords", smithyprelude.Integer)
	a = ThingsType.AddMember("Things", _Things)
	a = ThingsType.AddMember("NextToken", _String, &smithytraits.XMLName{Name: "Next"})
	a = GetCountsAnswer.AddMember("Counts", _Counts)
}`,
}

const thingsTables = `%awsquery
@GetCounts
Counts {}i
@ListThings paginated
?Kind/Type s!
?Limits {}s
?MaxRecords i
NextToken/Next s
Things [Thing]Thing
=Source
File/file s
=Thing
Aliases/Alias [+]s
Count i
Enabled b
FlatPlaces/Place {+Where,What}Thing
Kind s
Names []s
Parts [Thing]Thing
Places {Where,What}Thing
Source Source
`

func tablesOf(t *testing.T, folders ...map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, files := range folders {
		for name, text := range files {
			path := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := &source{fset: token.NewFileSet(), dir: dir}
	m, err := s.open()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := s.tables(m)
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

// Both forms of clients give the same tables: lists and maps, flat and with other names, a union, and a structure that
// contains itself.
func TestBothFormsOfClients(t *testing.T) {
	if got := tablesOf(t, apiFiles, deserializerFiles); got != thingsTables {
		t.Errorf("from deserializers.go:\n%s", got)
	}
	if got := tablesOf(t, apiFiles, schemaFiles); got != thingsTables {
		t.Errorf("from schemas:\n%s", got)
	}
}

// EC2's client has no schemas yet. With them, its parameters have a trait of their own, as the SDK's serializer of
// ec2query reads it, or begin with a capital letter.
func TestSchemasOfEC2(t *testing.T) {
	got := tablesOf(t, map[string]string{
		"api_client.go": `package ec2
import "github.com/aws/smithy-go/transport/http/protocol/ec2query"`,
		"api_op_DescribeVolumes.go": `package ec2
type DescribeVolumesInput struct {
	Filters []types.Filter
	MaxResults *int32
	VolumeIds []string
}
var _ = smithy.NewOperationSchema(schemas.DescribeVolumes, schemas.VolumesRequest, schemas.VolumesResult)`,
		"schemas/schemas.go": `package schemas
var Volumes = smithy.NewSchema(smithy.ShapeID{Name: "VolumeList"}, smithy.ShapeTypeList, 1)
var Volume = smithy.NewSchema(smithy.ShapeID{Name: "Volume"}, smithy.ShapeTypeStructure, 1)
var VolumesRequest = smithy.NewSchema(smithy.ShapeID{Name: "R"}, smithy.ShapeTypeStructure, 3)
var VolumesResult = smithy.NewSchema(smithy.ShapeID{Name: "S"}, smithy.ShapeTypeStructure, 1)

func init() {
	a = Volumes.AddMember("member", Volume, &smithytraits.XMLName{Name: "item"})
	a = Volume.AddMember("VolumeId", smithyprelude.String, &smithytraits.XMLName{Name: "volumeId"})
	a = VolumesRequest.AddMember("VolumeIds", Volumes, &smithytraits.XMLName{Name: "VolumeId"})
	a = VolumesRequest.AddMember("MaxResults", smithyprelude.Long, &smithytraits.XMLName{Name: "maxResults"})
	a = VolumesRequest.AddMember("Filters", Volumes, &smithytraits.EC2QueryName{Name: "Filter"},
		&smithytraits.XMLName{Name: "filterSet"})
	a = VolumesResult.AddMember("Volumes", Volumes, &smithytraits.XMLName{Name: "volumeSet"})
}`,
	})
	const want = `@DescribeVolumes
?Filters/Filter []Filter
?MaxResults i
?VolumeIds/VolumeId []s
Volumes/volumeSet []Volume
=Volume
VolumeId s
`
	if got != want {
		t.Errorf("%s", got)
	}
}

// The last client of a service with deserializers.go and the first with schemas have the same tables. Of other services
// the model changed as well.
func TestClientsBeforeAndAfterSchemas(t *testing.T) {
	for service, versions := range map[string][2]string{
		"elasticloadbalancing": {"v1.41.8", "v1.42.0"}, "iam": {"v1.64.8", "v1.66.0"},
	} {
		t.Run(service, func(t *testing.T) {
			var tables [2]string
			for i, version := range versions {
				s := &source{fset: token.NewFileSet(), dir: downloaded(t, service, version)}
				m, err := s.open()
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := m.(*schemas); ok != (i == 1) {
					t.Fatalf("%s: a client of another form: %T", version, m)
				}
				if tables[i], err = s.tables(m); err != nil {
					t.Fatal(err)
				}
			}
			if tables[0] != tables[1] || strings.Count(tables[0], "\n") < 100 {
				t.Errorf("the tables differ, or have few lines:\n%s\n%s", tables[0], tables[1])
			}
		})
	}
}

// downloaded returns the folder of a client in the module cache. If it is not there, the test is skipped.
func downloaded(t *testing.T, service, version string) string {
	t.Helper()
	module := "github.com/aws/aws-sdk-go-v2/service/" + service + "@" + version
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod")
	out, _ := cmd.Output()
	var m struct{ Dir string }
	if json.Unmarshal(out, &m) != nil || m.Dir == "" {
		t.Skipf("SKIPPED, NOT PASSED: %s is not in the module cache; TestBothFormsOfClients has both forms", module)
	}
	return m.Dir
}
