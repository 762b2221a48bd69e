package netlink

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Shape is the most that passes a link in bits per second; 0 is no limit.
type Shape struct {
	// Sent is what leaves this host by the link, Received what comes in by it.
	Sent, Received int64
}

// Limits of a shaped link: what it may send at once, and how long a packet may wait.
const (
	leastBurst = 128 << 10
	burstTime  = 0.02
	waitTime   = 0.1
)

// SetShape makes the limits of a link those of s; it is idempotent. What comes in is led through a link of its own, which DropShape removes.
func SetShape(name string, s Shape) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("limit interface %s: %w", name, err)
	}
	if err = limit(l, s.Sent); err == nil {
		err = limitReceived(l, s.Received)
	}
	if err != nil {
		return fmt.Errorf("limit interface %s: %w", name, err)
	}
	return nil
}

// DropShape removes what SetShape has made for the link of that name, which may be gone.
func DropShape(name string) error {
	l, err := netlink.LinkByName(mirror(name))
	if err == nil && l.Type() == "ifb" {
		err = netlink.LinkDel(l)
	}
	if err != nil && !missing(err) {
		return fmt.Errorf("remove the limit of interface %s: %w", name, err)
	}
	return nil
}

// mirror is the name of the link that what comes in by another is led through.
func mirror(name string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return fmt.Sprintf("ifb%08x", h.Sum32())
}

// limit limits what a link sends.
func limit(l netlink.Link, bits int64) error {
	root := netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	if bits == 0 {
		return absent(netlink.QdiscDel(&netlink.Tbf{QdiscAttrs: root}))
	}
	rate := uint64(max(bits/8, 1))
	burst := min(max(float64(rate)*burstTime, leastBurst), math.MaxUint32/4)
	return netlink.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: root, Rate: rate, Buffer: netlink.Xmittime(rate, uint32(burst)), Limit: uint32(min(float64(rate)*waitTime+burst, math.MaxUint32)),
	})
}

// limitReceived limits what comes in by a link: the kernel shapes only what is sent, so it is sent on to where it is.
func limitReceived(l netlink.Link, bits int64) error {
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}}
	if bits == 0 {
		return errors.Join(absent(netlink.QdiscDel(ingress)), DropShape(l.Attrs().Name))
	}
	to, err := mirrored(l)
	if err != nil {
		return err
	}
	if err := limit(to, bits); err != nil {
		return err
	}
	if err := netlink.QdiscAdd(ingress); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return netlink.FilterReplace(&netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: l.Attrs().Index, Parent: ingress.Handle, Handle: netlink.MakeHandle(0x8000, 1), Priority: 1, Protocol: unix.ETH_P_ALL},
		RedirIndex:  to.Attrs().Index,
		Sel:         &netlink.TcU32Sel{Flags: netlink.TC_U32_TERMINAL, Keys: []netlink.TcU32Key{{}}}, // everything
		Actions:     []netlink.Action{netlink.NewMirredAction(to.Attrs().Index)},
	})
}

// mirrored is the link that what comes in by another is led through; it is made if it is missing.
func mirrored(l netlink.Link) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = mirror(l.Attrs().Name), l.Attrs().MTU
	if err := netlink.LinkAdd(&netlink.Ifb{LinkAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make interface %s: %w", attrs.Name, err)
	}
	to, err := netlink.LinkByName(attrs.Name)
	if err == nil && to.Type() != "ifb" {
		err = fmt.Errorf("there is an interface %s already, which is not for this", attrs.Name)
	}
	if err == nil {
		err = netlink.LinkSetUp(to)
	}
	return to, err
}

// absent makes it no error that there was nothing to remove.
func absent(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}
