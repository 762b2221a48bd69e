// Command lxd is the daemon, and the commands that set it up and stop it.
package main

import (
	"context"
	"fmt"
	"os"

	"lxd/internal/admin"
	"lxd/internal/app"
)

func main() {
	if mine, err := app.Part(os.Args[1:]); mine {
		exit(err)
	}
	program := &admin.Program{
		Version:  app.Version,
		Connect:  admin.Local,
		Manifest: app.Manifest,
		Needed:   app.Needed,
		Run: func(ctx context.Context, d admin.Daemon) error {
			return app.Run(ctx, app.Command{Group: d.Group, LogFile: d.LogFile, Syslog: d.Syslog, Trace: d.Trace, Debug: d.Debug, Verbose: d.Verbose})
		},
	}
	exit(program.Root().ExecuteContext(context.Background()))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
