package app

import (
	"os"

	"lxd/internal/host/relay"
	"lxd/internal/instance"
	"lxd/internal/instance/template"
)

// Part runs what the daemon starts as a process of its own, if that is what the arguments ask for: the relay of a proxy device, or what
// renders templates.
func Part(args []string) (mine bool, err error) {
	if len(args) == 1 && args[0] == template.Command {
		return true, template.Main(os.Stdin, os.Stdout)
	}
	if len(args) != 2 || args[0] != relay.Command {
		return false, nil
	}
	return true, relay.Main(args[1])
}

// templates renders templates in processes of their own, if it is known which program the daemon is.
func (a *App) templates() instance.Templates {
	if a.o.Program == "" {
		return template.Here{}
	}
	return template.Process{Program: a.o.Program}
}
