// Command lxc drives LXD servers from the command line.
package main

import (
	"context"
	"os"

	"lxd/internal/cli"
)

func main() {
	os.Exit(cli.New().Run(context.Background(), os.Args[1:]))
}
