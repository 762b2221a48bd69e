package all

import (
	"lxd/internal/driver/machine/lxc"
	"lxd/internal/machine"
)

// Containers is the driver of system containers; helper is the path of the program that it runs them with. It fails with Unavailable,
// saying why, where containers cannot run.
func Containers(helper string) (machine.Driver, error) { return lxc.New(helper) }
