// Package hardware tells which processors, memory, disks, cards and machine the host has, as the kernel describes them below /sys and /proc.
package hardware

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lxd/api"
)

// Host is where the kernel's descriptions are; the zero Host is this one.
type Host struct {
	// Root is "" but in tests.
	Root string
}

// Resources reads everything. What the kernel does not tell is left at its zero value.
func (h Host) Resources() (api.Resources, error) {
	cpu, err := h.CPU()
	if err != nil {
		return api.Resources{}, err
	}
	memory, err := h.Memory()
	return api.Resources{
		CPU: cpu, Memory: memory, System: h.System(), GPU: h.GPU(), Network: h.Network(), Storage: h.Storage(), USB: h.USB(), PCI: h.PCI(),
	}, err
}

func (h Host) path(name string) string { return filepath.Join("/", h.Root, name) }

// text is the one line of a file; "" if there is none.
func (h Host) text(name string) string {
	b, err := os.ReadFile(h.path(name))
	if err != nil {
		return "" // the kernel tells less on some machines
	}
	return strings.TrimSpace(string(b))
}

// number is the number in a file, or otherwise what is missing.
func (h Host) number(name string, missing int64) int64 {
	n, err := strconv.ParseInt(h.text(name), 10, 64)
	if err != nil {
		return missing
	}
	return n
}

// numbered lists the entries of a folder that are called prefix and a number, by their numbers.
func (h Host) numbered(dir, prefix string) (all []int64, err error) {
	entries, err := os.ReadDir(h.path(dir))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		s, ok := strings.CutPrefix(e.Name(), prefix)
		if n, err := strconv.ParseInt(s, 10, 64); ok && err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

// contains tells whether a list of numbers and ranges such as 0-3,6 has n.
func contains(list string, n int64) bool {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		low, e1 := strconv.ParseInt(first, 10, 64)
		high, e2 := strconv.ParseInt(last, 10, 64)
		if e1 == nil && e2 == nil && low <= n && n <= high {
			return true
		}
	}
	return false
}

// System reads what the firmware says of the machine.
func (h Host) System() api.ResourcesSystem {
	dmi := func(name string) string { return h.text("sys/class/dmi/id/" + name) }
	s := api.ResourcesSystem{
		UUID: dmi("product_uuid"), Vendor: dmi("sys_vendor"), Product: dmi("product_name"), Family: dmi("product_family"),
		Version: dmi("product_version"), Sku: dmi("product_sku"), Serial: dmi("product_serial"), Type: h.kind(),
		Firmware: &api.ResourcesSystemFirmware{Vendor: dmi("bios_vendor"), Date: dmi("bios_date"), Version: dmi("bios_version")},
		Chassis: &api.ResourcesSystemChassis{
			Vendor: dmi("chassis_vendor"), Type: chassis[dmi("chassis_type")], Serial: dmi("chassis_serial"), Version: dmi("chassis_version"),
		},
		Motherboard: &api.ResourcesSystemMotherboard{
			Vendor: dmi("board_vendor"), Product: dmi("board_name"), Serial: dmi("board_serial"), Version: dmi("board_version"),
		},
	}
	return s
}

// kind tells a machine from a virtual one, which its processors give away, and from a container, which its first program does.
func (h Host) kind() string {
	switch {
	case h.text("run/systemd/container") != "":
		return "container"
	case slices.Contains(strings.Fields(h.cpuInfo()["flags"]), "hypervisor"):
		return "virtual-machine"
	}
	return "physical"
}

// chassis names the types of cases that the SMBIOS standard numbers.
var chassis = map[string]string{
	"1": "Other", "2": "Unknown", "3": "Desktop", "4": "Low Profile Desktop", "6": "Mini Tower", "7": "Tower", "8": "Portable", "9": "Laptop",
	"10": "Notebook", "13": "All in One", "17": "Main Server Chassis", "23": "Rack Mount Chassis", "28": "Blade", "30": "Tablet", "35": "Mini PC",
}
