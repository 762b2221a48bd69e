package tree

import (
	"fmt"
	"slices"
	"strings"
)

// Parse reads the words about images, those of each separated by "--": NAME=VALUE…, and then one file or two. The names are os, release,
// arch, variant, serial, label, eol, aliases (a comma list) and requirements.KEY.
func Parse(words []string) (images []Image, err error) {
	for rest := words; len(rest) > 0; {
		n := slices.Index(rest, "--")
		one := rest
		if rest = nil; n >= 0 {
			one, rest = one[:n], one[n+1:]
		}
		i, err := parse(one)
		if err != nil {
			return nil, err
		}
		images = append(images, i)
	}
	return images, nil
}

// parse reads the words about one image.
func parse(words []string) (i Image, err error) {
	i.Requirements = map[string]string{}
	fields := map[string]*string{"os": &i.OS, "release": &i.Release, "arch": &i.Arch, "variant": &i.Variant, "serial": &i.Serial,
		"label": &i.Label, "eol": &i.EOL}
	var files []string
	for _, w := range words {
		key, value, pair := strings.Cut(w, "=")
		requirement, isRequirement := strings.CutPrefix(key, "requirements.")
		switch {
		case !pair:
			files = append(files, w)
		case key == "aliases":
			i.Aliases = strings.Split(value, ",")
		case isRequirement:
			i.Requirements[requirement] = value
		case fields[key] != nil:
			*fields[key] = value
		default:
			return i, fmt.Errorf("unknown name %q", key)
		}
	}
	if len(files) < 1 || len(files) > 2 {
		return i, fmt.Errorf("an image is one file or two, not %d", len(files))
	}
	i.Meta = files[0]
	if len(files) == 2 {
		i.Root = files[1]
	}
	return i, nil
}
