package bridge

import (
	"strings"

	"lxd/internal/network"
)

// Config and HostLine are what dnsmasq reads.
func Config(n network.Net) string { return config(keys(), n) }

func HostLine(n network.Net, p network.Port) (string, error) { return hostLine(keys(), n, p) }

// ParseLeases reads dnsmasq's file of leases.
func ParseLeases(text string) ([]network.Lease, error) { return parseLeases(strings.NewReader(text)) }
