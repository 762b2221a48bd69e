package bridge

import (
	"strings"

	"lxd/internal/network"
)

// Config and HostLine are what dnsmasq reads.
func Config(n network.Net) string { return config(keys(), n) }

func HostLine(n network.Net, p network.Port) (string, error) { return hostLine(keys(), n, p) }

// HostFile is where HostLine goes.
func HostFile(n network.Net, p network.Port) string { return hostFile(n, p) }

// ParseLeases reads dnsmasq's file of leases.
func ParseLeases(text string) ([]network.Lease, error) { return parseLeases(strings.NewReader(text)) }

// Roster is the files of hosts.
type Roster struct{ r roster }

func (r *Roster) Set(dir string, want map[string]string) (bool, error) { return r.r.set(dir, want) }
func (r *Roster) Leave(file string)                                    { r.r.leave(file) }
func (r *Roster) Doubt()                                               { r.r.doubt() }

func (r *Roster) Add(file, line string, own []string) (bool, error) { return r.r.add(file, line, own) }
