package netlink

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Bridge is what only bridges have.
type Bridge struct {
	// ID is the priority and the MAC address, as in "8000.00163e000001".
	ID            string
	STP           bool
	ForwardDelay  int64
	VLANDefault   int64
	VLANFiltering bool
}

// BridgeOf reads the settings of the bridge of that name; what the kernel does not have is zero.
func BridgeOf(name string) (b Bridge, err error) {
	dir := filepath.Join("/sys/class/net", filepath.Base(name), "bridge")
	id, err := os.ReadFile(filepath.Join(dir, "bridge_id"))
	if err != nil {
		return b, err
	}
	number := func(file string) int64 {
		text, _ := os.ReadFile(filepath.Join(dir, file)) // optional parts of the kernel have files of their own
		n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		return n
	}
	b.ID = strings.TrimSpace(string(id))
	b.STP = number("stp_state") != 0
	b.ForwardDelay = number("forward_delay")
	b.VLANDefault, b.VLANFiltering = number("default_pvid"), number("vlan_filtering") != 0
	return b, nil
}
