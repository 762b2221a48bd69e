package hardware

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lxd/api"
)

const classNet = "sys/class/net"

// Network lists network cards with their ports; interfaces without hardware are none. Virtual functions are shown below their card.
func (h Host) Network() api.ResourcesNetwork {
	out := api.ResourcesNetwork{Cards: []api.ResourcesNetworkCard{}}
	where := map[string]int{}
	for _, name := range h.list(classNet) {
		link := classNet + "/" + name + "/device"
		dir, err := filepath.EvalSymlinks(h.path(link))
		if err != nil {
			continue
		}
		port := h.port(name)
		if exists(dir, "physfn") { // shown with the card that it is a part of
			continue
		}
		if i, ok := where[dir]; ok {
			out.Cards[i].Ports = append(out.Cards[i].Ports, port)
			continue
		}
		where[dir] = len(out.Cards)
		card := h.card(link)
		card.FirmwareVersion = h.firmware(name)
		card.Ports = []api.ResourcesNetworkCardPort{port}
		card.SRIOV = h.virtualCards(dir)
		out.Cards = append(out.Cards, card)
	}
	out.Total = int64(len(out.Cards))
	for _, c := range out.Cards {
		if c.SRIOV != nil {
			out.Total += int64(len(c.SRIOV.VFs))
		}
	}
	return out
}

func (h Host) card(link string) api.ResourcesNetworkCard {
	o := h.origin(link)
	dir, err := filepath.EvalSymlinks(h.path(link))
	var fast *api.ResourcesNetworkCardVDPA
	if err == nil {
		fast = vdpa(dir)
	}
	return api.ResourcesNetworkCard{
		VDPA: fast, Driver: o.driver, DriverVersion: o.version, NUMANode: o.node, PCIAddress: o.pci, USBAddress: o.usb,
		Vendor: o.vendor, VendorID: o.vendorID, Product: o.product, ProductID: o.productID,
	}
}

// virtualCards are the virtual functions of a card, nil if it can have none.
func (h Host) virtualCards(dir string) *api.ResourcesNetworkCardSRIOV {
	most := number(dir, "sriov_totalvfs", 0)
	if most == 0 {
		return nil
	}
	out := &api.ResourcesNetworkCardSRIOV{CurrentVFs: number(dir, "sriov_numvfs", 0), MaximumVFs: most, VFs: []api.ResourcesNetworkCard{}}
	for _, vf := range virtualFunctions(dir) {
		card := h.card(strings.TrimPrefix(vf, h.path("")))
		for _, name := range (Host{}).list(filepath.Join(vf, "net")) {
			card.Ports = append(card.Ports, h.port(name))
		}
		out.VFs = append(out.VFs, card)
	}
	slices.SortFunc(out.VFs, func(a, b api.ResourcesNetworkCard) int { return strings.Compare(a.PCIAddress, b.PCIAddress) })
	return out
}

// virtualFunctions are the folders of the virtual functions of a device.
func virtualFunctions(dir string) (all []string) {
	for _, entry := range (Host{}).list(dir) {
		if !strings.HasPrefix(entry, "virtfn") {
			continue
		}
		if vf, err := filepath.EvalSymlinks(filepath.Join(dir, entry)); err == nil {
			all = append(all, vf)
		}
	}
	return all
}

// vdpa is the device by which a card moves packets like a virtual one, nil if there is none.
func vdpa(dir string) *api.ResourcesNetworkCardVDPA {
	for _, entry := range (Host{}).list(dir) {
		if !numberedAs(entry, "vdpa") {
			continue
		}
		out := &api.ResourcesNetworkCardVDPA{Name: entry}
		for _, inner := range (Host{}).list(filepath.Join(dir, entry)) {
			if strings.HasPrefix(inner, "vhost-vdpa-") {
				out.Device = inner
			}
		}
		return out
	}
	return nil
}

// numberedAs tells whether a name is a prefix and a number.
func numberedAs(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	_, err := strconv.Atoi(rest)
	return ok && err == nil
}

// infiniband finds the device nodes of a port; those for messages are one for each port, that for verbs is the card's.
func infiniband(dir string, port int64) *api.ResourcesNetworkCardPortInfiniband {
	out := api.ResourcesNetworkCardPortInfiniband{}
	for _, name := range (Host{}).list(filepath.Join(dir, "infiniband_mad")) {
		at := filepath.Join(dir, "infiniband_mad", name)
		if number(at, "port", port+1) != port+1 {
			continue
		}
		switch {
		case strings.HasPrefix(name, "issm"):
			out.IsSMName, out.IsSMDevice = name, line(at, "dev")
		case strings.HasPrefix(name, "umad"):
			out.MADName, out.MADDevice = name, line(at, "dev")
		}
	}
	for _, name := range (Host{}).list(filepath.Join(dir, "infiniband_verbs")) {
		out.VerbName, out.VerbDevice = name, line(filepath.Join(dir, "infiniband_verbs", name), "dev")
	}
	if out == (api.ResourcesNetworkCardPortInfiniband{}) {
		return nil
	}
	return &out
}

// port is one interface of a card.
func (h Host) port(name string) api.ResourcesNetworkCardPort {
	dir := classNet + "/" + name + "/"
	p := api.ResourcesNetworkCardPort{
		ID: name, Address: h.text(dir + "address"), Port: h.number(dir+"dev_port", 0), Protocol: protocols[h.number(dir+"type", 0)],
		LinkDetected: h.number(dir+"carrier", 0) == 1,
	}
	if device, err := filepath.EvalSymlinks(h.path(dir + "device")); err == nil {
		p.Infiniband = infiniband(device, p.Port)
	}
	if p.LinkDetected {
		p.LinkSpeed = max(h.number(dir+"speed", 0), 0) // -1 is unknown
		if d := h.text(dir + "duplex"); d != "unknown" {
			p.LinkDuplex = d
		}
	}
	return p
}

// protocols names types of interfaces (linux/if_arp.h).
var protocols = map[int64]string{1: "ethernet", 32: "infiniband"}

// firmware asks the driver of an interface which firmware its card has; "" if it does not say. Only the interfaces of this network
// namespace can be asked.
func (h Host) firmware(name string) string {
	if h.Root != "" {
		return ""
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(s)
	info, err := unix.IoctlGetEthtoolDrvinfo(s, name)
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(info.Fw_version[:])
}
