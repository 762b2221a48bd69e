// Package simplestreams reads servers that offer images as static files: an index, files of products, and the images themselves.
//
// Whatever a server says is foreign: names stay below its address, documents and files are bounded, and every file is held against the
// size and the hash that the products file announces.
package simplestreams

import (
	"time"
)

// indexPath is where every server has its index.
const indexPath = "streams/v1/index.json"

// index is the list of product files.
type index struct {
	Index map[string]stream `json:"index"`
}

// stream is one product file, as the index tells of it.
type stream struct {
	Datatype string   `json:"datatype"`
	Path     string   `json:"path"`
	Products []string `json:"products"`
}

// imageDownloads is the type of the streams that hold images.
const imageDownloads = "image-downloads"

// products is a file of products.
type products struct {
	Products map[string]product `json:"products"`
}

// product is one operating system in one release for one architecture.
type product struct {
	Aliases         string             `json:"aliases"`
	Arch            string             `json:"arch"`
	OS              string             `json:"os"`
	Release         string             `json:"release"`
	ReleaseCodename string             `json:"release_codename"`
	ReleaseTitle    string             `json:"release_title"`
	Version         string             `json:"version"`
	SupportEOL      string             `json:"support_eol"`
	Variant         string             `json:"variant"`
	Requirements    map[string]string  `json:"requirements"`
	LXDRequirements map[string]string  `json:"lxd_requirements"`
	Versions        map[string]version `json:"versions"`
}

// version is one build of a product.
type version struct {
	Items map[string]item `json:"items"`
	Label string          `json:"label"`
}

// item is one file of a build.
type item struct {
	Ftype  string `json:"ftype"`
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`

	Combined         string `json:"combined_sha256"`
	CombinedRootXZ   string `json:"combined_rootxz_sha256"`
	CombinedSquashfs string `json:"combined_squashfs_sha256"`
	CombinedDisk1    string `json:"combined_disk1-img_sha256"`
	CombinedDiskKVM  string `json:"combined_disk-kvm-img_sha256"`
	CombinedUEFI1    string `json:"combined_uefi1-img_sha256"`
}

// Types of the files that hold metadata: of an image in two files, and of one in one.
const (
	splitMeta = "lxd.tar.xz"
	unified   = "lxd_combined.tar.gz"
)

// root is a type of file that holds a root, which comes with a splitMeta. Of those that a build has for one type of instance, the first
// here is the one that aliases mean.
type root struct {
	ftype       string
	vm          bool
	fingerprint func(meta item) string
}

func roots() []root {
	return []root{
		{"squashfs", false, func(m item) string { return m.CombinedSquashfs }},
		{"root.tar.xz", false, func(m item) string {
			if m.CombinedRootXZ != "" {
				return m.CombinedRootXZ
			}
			return m.Combined
		}},
		{"disk-kvm.img", true, func(m item) string { return m.CombinedDiskKVM }},
		{"disk1.img", true, func(m item) string { return m.CombinedDisk1 }},
		{"uefi1.img", true, func(m item) string { return m.CombinedUEFI1 }},
	}
}

// architectures are the kernel's names of what products call by Debian's.
func architecture(debian string) string {
	switch debian {
	case "amd64":
		return "x86_64"
	case "i386":
		return "i686"
	case "arm64":
		return "aarch64"
	case "armhf":
		return "armv7l"
	case "armel":
		return "armv6l"
	case "ppc64el":
		return "ppc64le"
	case "powerpc":
		return "ppc"
	case "loong64":
		return "loongarch64"
	}
	return debian
}

// built is when a version was made, from its name: YYYYMMDD, perhaps with _HHMM.
func built(version string) (time.Time, bool) {
	if len(version) < 8 {
		return time.Time{}, false
	}
	if t, err := time.Parse("20060102_1504", version[:min(len(version), 13)]); err == nil {
		return t, true
	}
	t, err := time.Parse("20060102", version[:8])
	return t, err == nil
}
