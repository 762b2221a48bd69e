// Package relay carries connections between two places of a host that do not see each other, such as two network namespaces. It runs as a
// process of its own, so that connections go on when the daemon ends, and so that it can give up all rights that it does not need.
package relay

import (
	"encoding/json"
	"os"
)

// Networks of endpoints.
const (
	TCP  = "tcp"
	UDP  = "udp"
	Unix = "unix"
)

// Endpoint is one end of a relay.
type Endpoint struct {
	// Network is tcp, udp or unix.
	Network string `json:"network"`
	// Address is IP:PORT, or the path of a socket, or @NAME for one without a file.
	Address string `json:"address"`
}

// abstract tells whether the socket has no file.
func (e Endpoint) abstract() bool {
	return e.Network == Unix && len(e.Address) > 0 && e.Address[0] == '@'
}

// Rule carries what comes in at Listen to Connect.
type Rule struct {
	Listen  Endpoint `json:"listen"`
	Connect Endpoint `json:"connect"`
}

// Config is what a relay process does.
type Config struct {
	Rules []Rule `json:"rules"`
	// Header sends the PROXY protocol's header before what a TCP client sends.
	Header bool `json:"header,omitempty"`
	// UID and GID are whom the process runs as once it has its sockets.
	UID int `json:"uid"`
	GID int `json:"gid"`
	// Inside says that Connect is inside the machine: paths are looked up below its root.
	Inside bool `json:"inside,omitempty"`
	// Machine identifies the run of the machine, so that a relay of an earlier one is not taken for this one's.
	Machine string `json:"machine,omitempty"`
}

func load(path string) (c Config, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(b, &c)
}
