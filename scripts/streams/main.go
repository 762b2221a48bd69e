// Command streams writes the static files of an image server from image files:
//
//	streams DIR NAME=VALUE... META [ROOT] [-- NAME=VALUE... META [ROOT]]...
//
// The names are os, release, arch, variant, serial, label, eol, aliases (a comma list) and requirements.KEY. Any web server can then offer
// DIR over https as a simplestreams remote.
package main

import (
	"errors"
	"fmt"
	"os"

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
		return errors.New("use: streams DIR NAME=VALUE... META [ROOT] [-- NAME=VALUE... META [ROOT]]... (see the package comment)")
	}
	images, err := tree.Parse(args[1:])
	if err != nil {
		return err
	}
	return tree.Write(args[0], images)
}
