package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// A member is a file of an archive.
type member struct {
	source, name string
	mode         int64
}

// archive writes the archive of a target: the program, and the files that the configuration names.
func (r *release) archive(t target, program, out string) error {
	a := r.config.Archives[0]
	formats := a.Formats
	for _, o := range a.FormatOverrides {
		if o.Goos == t.os {
			formats = o.Formats
		}
	}
	name, err := r.apply(a.NameTemplate, t)
	if err != nil {
		return err
	}
	members := []member{{program, filepath.Base(program), 0o755}}
	for _, f := range a.Files {
		dst := f.Destination
		if dst == "" {
			dst = f.Source
		}
		members = append(members, member{f.Source, dst, 0o644})
	}
	write := r.writeTar
	if slices.Contains(formats, "zip") {
		write = r.writeZip
	}
	file, err := os.Create(filepath.Join(out, name+"."+formats[0]))
	if err != nil {
		return err
	}
	if err := write(file, members); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

func (r *release) writeTar(w io.Writer, members []member) error {
	compressed := gzip.NewWriter(w)
	archive := tar.NewWriter(compressed)
	for _, m := range members {
		data, err := os.ReadFile(m.source)
		if err != nil {
			return err
		}
		h := &tar.Header{Name: m.name, Mode: m.mode, Size: int64(len(data)), ModTime: r.time, Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(h); err != nil {
			return err
		}
		if _, err := archive.Write(data); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

func (r *release) writeZip(w io.Writer, members []member) error {
	archive := zip.NewWriter(w)
	for _, m := range members {
		data, err := os.ReadFile(m.source)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate, Modified: r.time}
		h.SetMode(os.FileMode(m.mode))
		entry, err := archive.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := entry.Write(data); err != nil {
			return err
		}
	}
	return archive.Close()
}
