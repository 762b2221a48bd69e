package hardware

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lxd/api"
)

const block = "sys/class/block"

// sector is the unit of sizes in sysfs, whatever the disk's own is.
const sector = 512

// Storage lists disks with their partitions. Disks that are only another view of some, such as loop devices and device mapper, are none.
func (h Host) Storage() api.ResourcesStorage {
	out := api.ResourcesStorage{Disks: []api.ResourcesStorageDisk{}}
	mounted, links := h.mountedNumbers(), h.diskLinks()
	for _, name := range h.list(block) {
		dir, err := filepath.EvalSymlinks(h.path(block + "/" + name))
		if err != nil || exists(dir, "partition") || !exists(dir, "device") || exists(dir, "hidden") && line(dir, "hidden") == "1" {
			continue
		}
		disk := h.disk(name, dir)
		disk.Mounted = mounted[disk.Device]
		disk.DeviceID, disk.DevicePath, disk.DeviceFSUUID = links["by-id"][name], links["by-path"][name], links["by-uuid"][name]
		disk.Partitions = partitions(name, dir)
		for i := range disk.Partitions {
			p := &disk.Partitions[i]
			p.Mounted, p.DeviceFSUUID = mounted[p.Device], links["by-uuid"][p.ID]
		}
		out.Disks = append(out.Disks, disk)
		out.Total += 1 + int64(len(disk.Partitions))
	}
	return out
}

func (h Host) disk(name, dir string) api.ResourcesStorageDisk {
	o := h.origin(block + "/" + name + "/device")
	d := api.ResourcesStorageDisk{
		ID: name, Device: line(dir, "dev"), Size: number(dir, "size", 0) * sector, ReadOnly: line(dir, "ro") == "1",
		Removable: line(dir, "removable") == "1", BlockSize: number(dir, "queue/logical_block_size", 0), NUMANode: o.node,
		PCIAddress: o.pci, USBAddress: o.usb, Type: h.diskType(name, dir, o),
		Model: line(dir, "device/model"), FirmwareVersion: first(line(dir, "device/firmware_rev"), line(dir, "device/rev")),
		WWN: first(line(dir, "wwid"), line(dir, "device/wwid")), Serial: first(line(dir, "serial"), line(dir, "device/serial")),
	}
	if line(dir, "queue/rotational") == "1" && d.Type != "virtio" {
		d.RPM = 1 // it turns; how fast only the disk itself could tell
	}
	return d
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// diskType is how the disk is attached.
func (h Host) diskType(name, dir string, o origin) string {
	switch {
	case o.usb != "":
		return "usb"
	case strings.HasPrefix(name, "nvme"):
		return "nvme"
	case strings.Contains(dir, "/ata"):
		return "sata"
	}
	if kind := h.linked(filepath.Join(dir, "device"), "subsystem"); kind != "" {
		return kind
	}
	return o.driver
}

// partitions are the parts of a disk in order.
func partitions(name, dir string) []api.ResourcesStorageDiskPartition {
	out := []api.ResourcesStorageDiskPartition{}
	for _, entry := range (Host{}).list(dir) {
		sub := filepath.Join(dir, entry)
		if !strings.HasPrefix(entry, name) || !exists(sub, "partition") {
			continue
		}
		out = append(out, api.ResourcesStorageDiskPartition{
			ID: entry, Device: line(sub, "dev"), Partition: number(sub, "partition", 0), Size: number(sub, "size", 0) * sector, ReadOnly: line(sub, "ro") == "1",
		})
	}
	slices.SortFunc(out, func(a, b api.ResourcesStorageDiskPartition) int { return int(a.Partition - b.Partition) })
	return out
}

// mountedNumbers are the device numbers that something is mounted from.
func (h Host) mountedNumbers() map[string]bool {
	out := map[string]bool{}
	b, err := os.ReadFile(h.path("proc/self/mountinfo"))
	if err != nil {
		return out
	}
	for text := range strings.Lines(string(b)) {
		if f := strings.Fields(text); len(f) > 2 {
			out[f[2]] = true
		}
	}
	return out
}

// diskLinks are the names below dev/disk by the kernel's name of what they lead to; of several the shortest.
func (h Host) diskLinks() map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, kind := range []string{"by-id", "by-path", "by-uuid"} {
		out[kind] = map[string]string{}
		for _, name := range h.list("dev/disk/" + kind) {
			at := h.linked(h.path("dev/disk/"+kind), name)
			if old := out[kind][at]; old == "" || len(name) < len(old) {
				out[kind][at] = unescape(name)
			}
		}
	}
	return out
}

// unescape undoes \x20 and the like in names that udev made.
func unescape(name string) string {
	for i := strings.Index(name, `\x`); i >= 0 && i+4 <= len(name); i = strings.Index(name, `\x`) {
		n, err := strconv.ParseUint(name[i+2:i+4], 16, 8)
		if err != nil {
			return name
		}
		name = name[:i] + string(rune(n)) + name[i+4:]
	}
	return name
}
