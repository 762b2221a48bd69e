// Command streams writes the static files of an image server from image files:
//
//	streams DIR NAME=VALUE... META [ROOT] [-- NAME=VALUE... META [ROOT]]...
//
// The names are os, release, arch, variant, serial, label, eol, aliases (a comma list) and requirements.KEY. Any web server can then offer
// DIR over https as a simplestreams remote.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"lxd/client/simplestreams/tree"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "streams:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("use: streams DIR NAME=VALUE... META [ROOT] [-- NAME=VALUE... META [ROOT]]...")
	}
	var images []tree.Image
	for rest := args[1:]; len(rest) > 0; {
		n := slices.Index(rest, "--")
		one := rest
		if rest = nil; n >= 0 {
			one, rest = one[:n], one[n+1:]
		}
		i, err := parse(one)
		if err != nil {
			return err
		}
		images = append(images, i)
	}
	return tree.Write(args[0], images)
}

// parse reads the words about one image.
func parse(words []string) (i tree.Image, err error) {
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
