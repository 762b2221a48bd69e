package netlink

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Bridge is what only bridges have.
type Bridge struct {
	// ID is the priority and the MAC address, as in "8000.00163e000001".
	ID  string
	STP bool
	// ForwardDelay is in hundredths of a second.
	ForwardDelay  int64
	VLANDefault   int64
	VLANFiltering bool
}

// BridgeOf reads the settings of a bridge; what the kernel does not have is zero. It asks the kernel rather than /sys, which shows
// the network namespace that it was mounted in.
func BridgeOf(index int) (b Bridge, err error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	replies, err := req.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return b, wrap("read", index, err)
	}
	for _, r := range replies {
		data, err := nested(r[msg.Len():], unix.IFLA_LINKINFO, nl.IFLA_INFO_DATA)
		if err != nil {
			return b, wrap("read", index, err)
		}
		b.fill(data)
	}
	if b.ID == "" {
		return b, fmt.Errorf("interface %d is not a bridge", index)
	}
	return b, nil
}

// nested finds attributes within attributes, along the path of their types.
func nested(b []byte, path ...uint16) (map[uint16][]byte, error) {
	for level := 0; ; level++ {
		attrs, err := nl.ParseRouteAttr(b)
		if err != nil {
			return nil, err
		}
		all := map[uint16][]byte{}
		for _, a := range attrs {
			all[a.Attr.Type] = a.Value
		}
		if level == len(path) {
			return all, nil
		}
		b = all[path[level]]
	}
}

func (b *Bridge) fill(data map[uint16][]byte) {
	number := func(attr uint16) int64 {
		switch v := data[attr]; len(v) {
		case 1:
			return int64(v[0])
		case 2:
			return int64(binary.NativeEndian.Uint16(v))
		case 4:
			return int64(binary.NativeEndian.Uint32(v))
		}
		return 0
	}
	if id := data[nl.IFLA_BR_BRIDGE_ID]; len(id) == 8 {
		b.ID = fmt.Sprintf("%02x%02x.%x", id[0], id[1], id[2:])
	}
	b.STP = number(nl.IFLA_BR_STP_STATE) != 0
	b.ForwardDelay = number(nl.IFLA_BR_FORWARD_DELAY)
	b.VLANDefault, b.VLANFiltering = number(nl.IFLA_BR_VLAN_DEFAULT_PVID), number(nl.IFLA_BR_VLAN_FILTERING) != 0
}
