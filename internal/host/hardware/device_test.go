package hardware_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"lxd/api"
	"lxd/internal/host/hardware"
)

// tree writes a machine: "-> TARGET" is a link to a path below the root, everything else a file.
func tree(t *testing.T, files map[string]string) hardware.Host {
	t.Helper()
	plain, links := map[string]string{}, map[string]string{}
	for name, text := range files {
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			links[name] = target
			continue
		}
		plain[name] = text
	}
	h := machine(t, plain)
	root, err := filepath.EvalSymlinks(h.Root)
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range links {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(root, target), 0o755); err != nil && !os.IsExist(err) && !strings.Contains(err.Error(), "not a directory") {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(filepath.Dir(file), filepath.Join(root, target))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(rel, file); err != nil {
			t.Fatal(err)
		}
	}
	return hardware.Host{Root: root}
}

// server is a machine with a card of two ports and virtual functions, a SATA disk, an NVMe disk, a USB stick and a graphics card.
func server(t *testing.T) hardware.Host {
	const pci, bus = "sys/devices/pci0000:00/", "sys/bus/"
	nic, vf, sata, nvme, gpu := pci+"0000:00:01.0/", pci+"0000:00:01.4/", pci+"0000:00:02.0/", pci+"0000:00:03.0/", pci+"0000:00:05.0/"
	usb := pci + "0000:00:04.0/usb1/1-2/"
	sda, nvme0, sdb := sata+"ata1/host0/target0/0:0:0:0/block/sda/", nvme+"nvme/nvme0/nvme0n1/", usb+"1-2:1.0/host3/target3/3:0:0:0/block/sdb/"
	files := map[string]string{
		"proc/sys/kernel/osrelease": "6.1.0", "sys/module/igb/version": "5.6.0", "proc/self/mountinfo": "20 1 8:1 / / rw - ext4 /dev/sda1 rw",
		"usr/share/misc/pci.ids": "# ids\n1234  Other\n\t1533  Wrong\n8086  Intel Corporation\n\t1533  I210 Gigabit\n\t\t103c 0003  Sub\n8087  Next\n\t9999  Not mine",

		nic + "vendor": "0x8086", nic + "device": "0x1533", nic + "numa_node": "1", nic + "subsystem": "-> " + bus + "pci", nic + "driver": "-> " + bus + "pci/drivers/igb",
		nic + "sriov_totalvfs": "7", nic + "sriov_numvfs": "1", nic + "virtfn0": "-> " + vf, nic + "iommu_group": "-> sys/kernel/iommu_groups/12",
		nic + "vpd":                 "\x82\x04\x00Card\x90\x0b\x00PN\x03A-1SN\x02\x0042\x91\xff\xff",
		nic + "net/eth0/address":    "00:00:00:00:00:01",
		"sys/class/net/eth0/device": "-> " + nic, "sys/class/net/eth0/address": "00:00:00:00:00:01", "sys/class/net/eth0/type": "1",
		"sys/class/net/eth0/carrier": "1", "sys/class/net/eth0/speed": "1000", "sys/class/net/eth0/duplex": "full",
		"sys/class/net/eth1/device": "-> " + nic, "sys/class/net/eth1/type": "1", "sys/class/net/eth1/dev_port": "1", "sys/class/net/eth1/speed": "-1",
		"sys/class/net/lo/type": "772",
		vf + "vendor":           "0x8086", vf + "device": "0x1520", vf + "subsystem": "-> " + bus + "pci", vf + "physfn": "-> " + nic, vf + "net/eth2/x": "",
		"sys/class/net/eth2/device": "-> " + vf, "sys/class/net/eth2/type": "1",

		sata + "vendor": "0x1234", sata + "device": "0x1533", sata + "subsystem": "-> " + bus + "pci", sata + "numa_node": "-1",
		sda + "dev": "8:0", sda + "size": "1000", sda + "ro": "0", sda + "removable": "0", sda + "queue/logical_block_size": "512", sda + "queue/rotational": "1",
		sda + "device": "-> " + sata + "ata1/host0/target0/0:0:0:0", sata + "ata1/host0/target0/0:0:0:0/model": "SPIN 1", sata + "ata1/host0/target0/0:0:0:0/rev": "R1",
		sata + "ata1/host0/target0/0:0:0:0/subsystem": "-> " + bus + "scsi", sda + "sda1/partition": "1", sda + "sda1/dev": "8:1", sda + "sda1/size": "900", sda + "sda1/ro": "1",
		"sys/class/block/sda": "-> " + sda, "sys/class/block/sda1": "-> " + sda + "sda1", "dev/sda1": "",
		"dev/disk/by-uuid/aa-bb": "-> dev/sda1", "dev/disk/by-id/ata-SPIN\\x201": "-> dev/sda", "dev/disk/by-id/wwn-0x500000000000": "-> dev/sda",
		"dev/disk/by-path/pci-0000:00:02.0-ata-1": "-> dev/sda",

		nvme + "subsystem": "-> " + bus + "pci", nvme0 + "dev": "259:0", nvme0 + "size": "2000", nvme0 + "device": "-> " + nvme + "nvme/nvme0", nvme0 + "wwid": "eui.1",
		nvme + "nvme/nvme0/serial": "S1", nvme + "nvme/nvme0/model": "FAST", nvme + "nvme/nvme0/firmware_rev": "F2", "sys/class/block/nvme0n1": "-> " + nvme0,

		usb + "busnum": "1", usb + "devnum": "4", usb + "idVendor": "0781", usb + "idProduct": "5567", usb + "manufacturer": "Stick Inc", usb + "product": "Stick",
		usb + "speed": "480", usb + "serial": "X9", usb + "bDeviceClass": "00", usb + "subsystem": "-> " + bus + "usb", pci + "0000:00:04.0/subsystem": "-> " + bus + "pci",
		usb + "1-2:1.0/bInterfaceNumber": "00", usb + "1-2:1.0/bInterfaceClass": "08", usb + "1-2:1.0/bInterfaceSubClass": "06",
		usb + "1-2:1.0/driver": "-> " + bus + "usb/drivers/usb-storage", bus + "usb/devices/1-2": "-> " + usb, bus + "usb/devices/1-2:1.0": "-> " + usb + "1-2:1.0",
		pci + "0000:00:04.0/usb1/idVendor": "1d6b", pci + "0000:00:04.0/usb1/bDeviceClass": "09", bus + "usb/devices/usb1": "-> " + pci + "0000:00:04.0/usb1",
		sdb + "dev": "8:16", sdb + "size": "10", sdb + "removable": "1", sdb + "device": "-> " + usb + "1-2:1.0/host3/target3/3:0:0:0", "sys/class/block/sdb": "-> " + sdb,
		"sys/devices/virtual/block/loop0/size": "0", "sys/class/block/loop0": "-> sys/devices/virtual/block/loop0",

		gpu + "vendor": "0x8086", gpu + "device": "0x0001", gpu + "subsystem": "-> " + bus + "pci", gpu + "driver": "-> " + bus + "pci/drivers/i915",
		gpu + "drm/card0/x": "", gpu + "drm/renderD128/x": "", "sys/class/drm/card0/dev": "226:0", "sys/class/drm/card0/device": "-> " + gpu,
		"sys/class/drm/renderD128/dev": "226:128", "sys/class/drm/card0-HDMI-A-1/status": "connected",
		bus + "pci/devices/0000:00:01.0": "-> " + nic, bus + "pci/devices/0000:00:05.0": "-> " + gpu,
	}
	return tree(t, files)
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNetwork(t *testing.T) {
	got := server(t).Network()
	sriov := got.Cards[0].SRIOV
	got.Cards[0].SRIOV = nil
	same(t, got, api.ResourcesNetwork{Total: 2, Cards: []api.ResourcesNetworkCard{{
		Driver: "igb", DriverVersion: "5.6.0", NUMANode: 1, PCIAddress: "0000:00:01.0", Vendor: "Intel Corporation", VendorID: "8086", Product: "I210 Gigabit", ProductID: "1533",
		Ports: []api.ResourcesNetworkCardPort{
			{ID: "eth0", Address: "00:00:00:00:00:01", Protocol: "ethernet", LinkDetected: true, LinkSpeed: 1000, LinkDuplex: "full"},
			{ID: "eth1", Protocol: "ethernet", Port: 1},
		},
	}}})
	same(t, sriov, &api.ResourcesNetworkCardSRIOV{CurrentVFs: 1, MaximumVFs: 7, VFs: []api.ResourcesNetworkCard{{
		PCIAddress: "0000:00:01.4", VendorID: "8086", ProductID: "1520", Vendor: "Intel Corporation", Ports: []api.ResourcesNetworkCardPort{{ID: "eth2", Protocol: "ethernet"}},
	}}})
}

func TestStorage(t *testing.T) {
	got := server(t).Storage()
	same(t, got, api.ResourcesStorage{Total: 4, Disks: []api.ResourcesStorageDisk{
		{ID: "nvme0n1", Device: "259:0", Size: 2000 * 512, Type: "nvme", Model: "FAST", FirmwareVersion: "F2", Serial: "S1", WWN: "eui.1",
			PCIAddress: "0000:00:03.0", Partitions: []api.ResourcesStorageDiskPartition{}},
		{ID: "sda", Device: "8:0", Size: 1000 * 512, Type: "sata", Model: "SPIN 1", FirmwareVersion: "R1", BlockSize: 512, RPM: 1, PCIAddress: "0000:00:02.0",
			DeviceID: "ata-SPIN 1", DevicePath: "pci-0000:00:02.0-ata-1",
			Partitions: []api.ResourcesStorageDiskPartition{{ID: "sda1", Device: "8:1", Partition: 1, Size: 900 * 512, ReadOnly: true, Mounted: true, DeviceFSUUID: "aa-bb"}}},
		{ID: "sdb", Device: "8:16", Size: 10 * 512, Type: "usb", Removable: true, PCIAddress: "0000:00:04.0", USBAddress: "1:4", Partitions: []api.ResourcesStorageDiskPartition{}},
	}})
}

func TestUSB(t *testing.T) {
	same(t, server(t).USB(), api.ResourcesUSB{Total: 1, Devices: []api.ResourcesUSBDevice{{
		BusAddress: 1, DeviceAddress: 4, Serial: "X9", Vendor: "Stick Inc", VendorID: "0781", Product: "Stick", ProductID: "5567", Speed: 480,
		Interfaces: []api.ResourcesUSBDeviceInterface{{Class: "Mass Storage", ClassID: 8, SubClassID: 6, Driver: "usb-storage", DriverVersion: "6.1.0"}},
	}}})
}

func TestPCI(t *testing.T) {
	got := server(t).PCI()
	if got.Total != 2 || got.Devices[0].IOMMUGroup != 12 || got.Devices[0].Product != "I210 Gigabit" || got.Devices[1].Driver != "i915" {
		t.Errorf("%+v", got)
	}
	same(t, got.Devices[0].VPD, api.ResourcesPCIVPD{ProductName: "Card", Entries: map[string]string{"PN": "A-1", "SN": "4"}})
}

func TestGPU(t *testing.T) {
	got := server(t).GPU()
	if got.Total != 1 || got.Cards[0].Driver != "i915" || got.Cards[0].PCIAddress != "0000:00:05.0" {
		t.Fatalf("%+v", got)
	}
	same(t, got.Cards[0].DRM, &api.ResourcesGPUCardDRM{CardName: "card0", CardDevice: "226:0", RenderName: "renderD128", RenderDevice: "226:128"})
}

// rack is a machine for computing: a card of InfiniBand with a fast virtual device, and graphics cards of the kinds that are divided.
func rack(t *testing.T) hardware.Host {
	const pci, bus, nvidia = "sys/devices/pci0000:80/", "-> sys/bus/pci", "proc/driver/nvidia/"
	ib, tesla, arc, part := pci+"0000:81:00.0/", pci+"0000:82:00.0/", pci+"0000:83:00.0/", pci+"0000:83:00.1/"
	kind := tesla + "mdev_supported_types/nvidia-222/"
	return tree(t, map[string]string{
		ib + "vendor": "0x15b3", ib + "device": "0x101b", ib + "numa_node": "1", ib + "subsystem": bus, ib + "driver": "-> sys/bus/pci/drivers/mlx5_core",
		ib + "infiniband_mad/issm0/dev": "231:64", ib + "infiniband_mad/issm0/port": "1", ib + "infiniband_mad/umad0/dev": "231:0", ib + "infiniband_mad/umad0/port": "1",
		ib + "infiniband_mad/umad1/dev": "231:1", ib + "infiniband_mad/umad1/port": "2", ib + "infiniband_verbs/uverbs0/dev": "231:192",
		ib + "vdpa0/vhost-vdpa-0/dev": "511:0", ib + "vdpa_mgmt/x": "",
		"sys/class/net/ibp129s0/device": "-> " + ib, "sys/class/net/ibp129s0/type": "32", "sys/class/net/ibp129s0/address": "00:00:10:29:fe:80",
		"sys/class/net/ibp129s0/carrier": "1", "sys/class/net/ibp129s0/speed": "200000", "sys/class/net/ibp129s0/duplex": "unknown",

		tesla + "vendor": "0x10de", tesla + "device": "0x1eb8", tesla + "subsystem": bus, tesla + "driver": "-> sys/bus/pci/drivers/nvidia",
		"sys/module/nvidia/version": "535.104.05", "sys/class/drm/card1/dev": "226:1", "sys/class/drm/card1/device": "-> " + tesla,
		kind + "device_api": "vfio-pci", kind + "available_instances": "15", kind + "name": "GRID T4-1B", kind + "description": "num_heads=4, frl_config=45",
		kind + "devices/5a3f1b1e-31b3-4a3c-b1f4-0c6f8a1d2e3f/x": "",
		nvidia + "gpus/0000:82:00.0/information":                "Model: \t\t Tesla T4\nIRQ:   \t\t 42\nGPU UUID: \t GPU-1a2b3c4d\nDevice Minor: \t 0",
		nvidia + "version":                                      "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version:  gcc",

		arc + "vendor": "0x8086", arc + "device": "0x56c0", arc + "subsystem": bus, arc + "driver": "-> sys/bus/pci/drivers/i915", arc + "sriov_totalvfs": "31",
		arc + "sriov_numvfs": "1", arc + "virtfn0": "-> " + part, "sys/class/drm/card2/dev": "226:2", "sys/class/drm/card2/device": "-> " + arc,
		part + "vendor": "0x8086", part + "device": "0x56c0", part + "subsystem": bus, part + "physfn": "-> " + arc,
		"sys/class/drm/card3/dev": "226:3", "sys/class/drm/card3/device": "-> " + part,
	})
}

func TestRackNetwork(t *testing.T) {
	got := rack(t).Network()
	if got.Total != 1 || len(got.Cards) != 1 {
		t.Fatalf("%+v", got)
	}
	c := got.Cards[0]
	same(t, c.VDPA, &api.ResourcesNetworkCardVDPA{Name: "vdpa0", Device: "vhost-vdpa-0"})
	same(t, c.Ports, []api.ResourcesNetworkCardPort{{
		ID: "ibp129s0", Address: "00:00:10:29:fe:80", Protocol: "infiniband", LinkDetected: true, LinkSpeed: 200000,
		Infiniband: &api.ResourcesNetworkCardPortInfiniband{IsSMName: "issm0", IsSMDevice: "231:64", MADName: "umad0", MADDevice: "231:0", VerbName: "uverbs0", VerbDevice: "231:192"},
	}})
}

func TestRackGPU(t *testing.T) {
	got := rack(t).GPU()
	if got.Total != 3 || len(got.Cards) != 2 {
		t.Fatalf("%+v", got)
	}
	tesla, arc := got.Cards[0], got.Cards[1]
	same(t, tesla.Nvidia, &api.ResourcesGPUCardNvidia{NVRMVersion: "535.104.05", Model: "Tesla T4", UUID: "GPU-1a2b3c4d", CardName: "nvidia0", CardDevice: "195:0"})
	same(t, tesla.Mdev, map[string]api.ResourcesGPUCardMdev{"nvidia-222": {
		API: "vfio-pci", Available: 15, Name: "GRID T4-1B", Description: "num_heads=4, frl_config=45", Devices: []string{"5a3f1b1e-31b3-4a3c-b1f4-0c6f8a1d2e3f"},
	}})
	if tesla.DriverVersion != "535.104.05" || arc.Nvidia != nil || arc.Mdev != nil {
		t.Errorf("%+v %+v", tesla, arc)
	}
	same(t, arc.SRIOV, &api.ResourcesGPUCardSRIOV{CurrentVFs: 1, MaximumVFs: 31, VFs: []api.ResourcesGPUCard{{PCIAddress: "0000:83:00.1", VendorID: "8086", ProductID: "56c0"}}})
}

// TestBareMachine reads a machine whose kernel tells nothing: the lists are empty, not missing.
func TestBareMachine(t *testing.T) {
	h := machine(t, map[string]string{"proc/cpuinfo": info})
	if n, s, u, p, g := h.Network(), h.Storage(), h.USB(), h.PCI(), h.GPU(); n.Cards == nil || s.Disks == nil || u.Devices == nil || p.Devices == nil || g.Cards == nil {
		t.Error(n, s, u, p, g)
	}
}
