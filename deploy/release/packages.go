package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"
)

// linuxPackage writes a package of a target with nfpm, as goreleaser does.
func (r *release) linuxPackage(format string, t target, program, out string) error {
	var packager nfpm.Packager
	switch format {
	case "deb":
		packager = deb.Default
	case "rpm":
		packager = rpm.DefaultRPM
	default:
		return fmt.Errorf("%s: unknown format", configFile)
	}
	info := nfpm.WithDefaults(r.packageInfo(r.config.NFPMs[0], format, t, program))
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(out, packager.ConventionalFileName(info)))
	if err != nil {
		return err
	}
	if err := packager.Package(info, file); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

func (r *release) packageInfo(p config.NFPM, format string, t target, program string) *nfpm.Info {
	contents := files.Contents{{
		Source: program, Destination: path.Join(p.Bindir, "collector"),
		FileInfo: &files.ContentFileInfo{Mode: 0o755, MTime: r.time},
	}}
	for _, c := range p.Contents {
		if c.Packager == "" || c.Packager == format {
			contents = append(contents, &files.Content{
				Source: c.Source, Destination: c.Destination, Type: c.Type,
				FileInfo: &files.ContentFileInfo{Mode: c.FileInfo.Mode, MTime: r.time},
			})
		}
	}
	return &nfpm.Info{
		Name: p.PackageName, Version: r.fields["Version"], Arch: t.arch, Platform: t.os, MTime: r.time,
		Section: p.Section, Priority: p.Priority, Vendor: p.Vendor, Homepage: p.Homepage, License: p.License,
		Maintainer: p.Maintainer, Description: p.Description,
		Overridables: nfpm.Overridables{
			Depends: p.Overrides[format].Dependencies, Contents: contents,
			Scripts: nfpm.Scripts{PostInstall: p.Scripts.PostInstall, PreRemove: p.Scripts.PreRemove},
		},
	}
}
