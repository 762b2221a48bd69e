package simplestreams

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"lxd/api"
)

// File is one file of an image on a server.
type File struct {
	// Path is relative to the server's address.
	Path   string
	SHA256 string
	Size   int64
}

// Image is an image that a server offers.
type Image struct {
	api.Image
	// Meta is the whole of an image in one file. Root is the second file of one in two; its Path is "" if there is none.
	Meta, Root File
	// rank orders the images of one build: aliases mean the least.
	rank int
	// names are the aliases of the product, whether or not this is its newest build.
	names []string
	arch  string
}

// VM tells whether the image is for virtual machines.
func (i *Image) VM() bool { return i.Type == string(api.InstanceTypeVirtualMachine) }

// images are all images of a file of products, those with malformed names, hashes or sizes left out: one bad entry does not make a server
// useless.
func (p products) images() []Image {
	var all []Image
	for _, name := range slices.Sorted(maps.Keys(p.Products)) {
		prod := p.Products[name]
		for key, v := range prod.Versions {
			made, ok := built(key)
			if !ok {
				continue
			}
			all = append(all, prod.build(key, v, made)...)
		}
	}
	return all
}

// build is the images of one build.
func (p product) build(key string, v version, made time.Time) (all []Image) {
	for _, name := range slices.Sorted(maps.Keys(v.Items)) {
		meta := v.Items[name]
		switch meta.Ftype {
		case unified:
			one := Image{Meta: fileOf(meta), Image: api.Image{Fingerprint: meta.SHA256, CreatedAt: made}}
			all = add(all, p.complete(one, root{ftype: unified}, key, v.Label))
		case splitMeta:
			for rank, r := range roots() {
				second, ok := v.root(r.ftype)
				if !ok {
					continue
				}
				two := Image{Meta: fileOf(meta), Root: fileOf(second), rank: rank,
					Image: api.Image{Fingerprint: r.fingerprint(meta), CreatedAt: made}}
				all = add(all, p.complete(two, r, key, v.Label))
			}
		}
	}
	return all
}

func (v version) root(ftype string) (item, bool) {
	for _, name := range slices.Sorted(maps.Keys(v.Items)) {
		if i := v.Items[name]; i.Ftype == ftype {
			return i, true
		}
	}
	return item{}, false
}

func fileOf(i item) File { return File{Path: i.Path, SHA256: i.SHA256, Size: i.Size} }

// add takes an image in, unless what the server says of it is malformed.
func add(all []Image, i Image) []Image {
	if !isHash(i.Fingerprint) || !i.Meta.sound() || i.Root.Path != "" && !i.Root.sound() {
		return all
	}
	return append(all, i)
}

// complete adds to an image what its product says of it.
func (p product) complete(i Image, r root, serial, label string) Image {
	i.Type = string(api.InstanceTypeContainer)
	if r.vm {
		i.Type = string(api.InstanceTypeVirtualMachine)
	}
	i.Architecture, i.arch = architecture(p.Arch), p.Arch
	i.Public, i.Size, i.Filename = true, i.Meta.Size+i.Root.Size, path.Base(i.Meta.Path)
	i.UploadedAt, i.ExpiresAt = i.CreatedAt, time.Unix(0, 0).UTC()
	if eol, err := time.Parse(time.DateOnly, p.SupportEOL); err == nil {
		i.ExpiresAt = eol
	}
	i.Aliases, i.Profiles = []api.ImageAlias{}, []string{}
	i.Properties = p.properties(serial, label, r.ftype)
	for a := range strings.SplitSeq(p.Aliases, ",") {
		if a = strings.TrimSpace(a); a != "" && sayable(a) {
			i.names = append(i.names, a)
		}
	}
	return i
}

// properties are those of the images of one build; those that would be empty are left out.
func (p product) properties(serial, label, ftype string) map[string]string {
	title := p.ReleaseTitle
	if title == "" {
		title = p.Release
	}
	description := fmt.Sprintf("%s %s %s", p.OS, title, p.Arch)
	if label != "" {
		description += " (" + label + ")"
	}
	all := map[string]string{
		"os": p.OS, "release": p.Release, "version": p.Version, "architecture": p.Arch, "label": label, "serial": serial, "variant": p.Variant,
		"type": strings.TrimSuffix(ftype, ".tar.gz"), "description": description + " (" + serial + ")",
	}
	requirements := p.LXDRequirements
	if len(requirements) == 0 {
		requirements = p.Requirements
	}
	for k, value := range requirements {
		all["requirements."+k] = value
	}
	maps.DeleteFunc(all, func(k, value string) bool { return value == "" || !sayable(k) || !sayable(value) })
	return all
}

// sound tells whether a file can be asked for at all: its path must stay below the server's address.
func (f File) sound() bool {
	return isHash(f.SHA256) && f.Size > 0 && below(f.Path)
}

// below tells whether a path from a server stays below its address.
func below(p string) bool {
	if p == "" || !sayable(p) || strings.HasPrefix(p, "/") || strings.ContainsAny(p, `\?#`) || strings.Contains(p, "://") {
		return false
	}
	return !slices.Contains(strings.Split(p, "/"), "..")
}

// sayable tells whether a text is without control characters.
func sayable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}

func isHash(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// catalog is what a server offers at one time.
type catalog struct {
	images  []Image
	aliases []api.ImageAliasesEntry
	// targets are the indexes of images by type and alias.
	targets map[[2]string]int
}

// newCatalog sorts images, the newest first, and gives the newest of each product and type its aliases. Names alone stand for the
// architecture arch; those with an architecture, NAME/ARCH, for any.
func newCatalog(images []Image, arch string) *catalog {
	slices.SortStableFunc(images, func(a, b Image) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return a.rank - b.rank
	})
	c := &catalog{targets: map[[2]string]int{}}
	seen := map[string]bool{}
	for _, img := range images {
		if seen[img.Fingerprint] {
			continue
		}
		seen[img.Fingerprint] = true
		c.images = append(c.images, img)
	}
	for at := range c.images {
		c.name(at, arch)
	}
	slices.SortFunc(c.aliases, func(a, b api.ImageAliasesEntry) int {
		return strings.Compare(a.Name+"\x00"+a.Type, b.Name+"\x00"+b.Type)
	})
	return c
}

// name gives an image those of its names that no newer one has.
func (c *catalog) name(at int, arch string) {
	img := &c.images[at]
	for _, n := range img.names {
		full := []string{n + "/" + img.arch}
		if img.Architecture == arch {
			full = append(full, n)
		}
		for _, name := range full {
			key := [2]string{img.Type, name}
			if _, taken := c.targets[key]; taken {
				continue
			}
			c.targets[key] = at
			img.Aliases = append(img.Aliases, api.ImageAlias{Name: name})
			c.aliases = append(c.aliases, api.ImageAliasesEntry{Name: name, Type: img.Type, Target: img.Fingerprint})
		}
	}
}
