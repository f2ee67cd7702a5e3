package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"runtime/debug"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// writeSBOM writes the bill of materials of a program in the format CycloneDX: the modules that Go has recorded in the
// binary, with their checksums, and Go's standard library.
func writeSBOM(program, document string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return fmt.Errorf("bill of materials: %w", err)
	}
	file, err := os.Create(document)
	if err != nil {
		return err
	}
	encoder := cdx.NewBOMEncoder(file, cdx.BOMFileFormatJSON)
	encoder.SetPretty(true)
	if err := encoder.Encode(bom(info)); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

func bom(info *buildinfo.BuildInfo) *cdx.BOM {
	b := cdx.NewBOM()
	main := cdx.Component{
		BOMRef: "pkg:golang/" + info.Main.Path, Type: cdx.ComponentTypeApplication,
		Name: info.Main.Path, Version: info.Main.Version,
	}
	b.Metadata = &cdx.Metadata{Component: &main}
	standard := "pkg:golang/std@" + info.GoVersion
	components := []cdx.Component{{
		BOMRef: standard, Type: cdx.ComponentTypeLibrary, Name: "std", Version: info.GoVersion, PackageURL: standard,
	}}
	refs := []string{standard}
	for _, module := range info.Deps {
		c := component(module)
		components, refs = append(components, c), append(refs, c.BOMRef)
	}
	b.Components = &components
	b.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	return b
}

func component(module *debug.Module) cdx.Component {
	if module.Replace != nil {
		module = module.Replace
	}
	url := "pkg:golang/" + module.Path + "@" + module.Version
	return cdx.Component{
		BOMRef: url, Type: cdx.ComponentTypeLibrary, Name: module.Path, Version: module.Version, PackageURL: url,
		Properties: &[]cdx.Property{{Name: "go:sum", Value: module.Sum}},
	}
}
