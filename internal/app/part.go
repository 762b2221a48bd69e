package app

import "lxd/internal/host/relay"

// Part runs what the daemon starts as a process of its own, if that is what the arguments ask for: the relay of a proxy device.
func Part(args []string) (mine bool, err error) {
	if len(args) != 2 || args[0] != relay.Command {
		return false, nil
	}
	return true, relay.Main(args[1])
}
