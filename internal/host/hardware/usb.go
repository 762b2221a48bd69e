package hardware

import (
	"strconv"
	"strings"

	"lxd/api"
)

// USB lists the devices on USB buses, hubs included only where they have a driver of their own beside the hub's.
func (h Host) USB() api.ResourcesUSB {
	const all = "sys/bus/usb/devices"
	out := api.ResourcesUSB{Devices: []api.ResourcesUSBDevice{}}
	for _, name := range h.list(all) {
		dir := h.path(all + "/" + name)
		if strings.Contains(name, ":") || !exists(dir, "idVendor") || line(dir, "bDeviceClass") == hub {
			continue
		}
		d := api.ResourcesUSBDevice{
			BusAddress: number(dir, "busnum", 0), DeviceAddress: number(dir, "devnum", 0), Serial: line(dir, "serial"),
			Vendor: line(dir, "manufacturer"), VendorID: line(dir, "idVendor"), Product: line(dir, "product"), ProductID: line(dir, "idProduct"),
			Interfaces: h.usbInterfaces(dir, name),
		}
		d.Speed, _ = strconv.ParseFloat(line(dir, "speed"), 64) // 0 where it is not known
		out.Devices = append(out.Devices, d)
	}
	out.Total = int64(len(out.Devices))
	return out
}

// hub is the device class of hubs.
const hub = "09"

func (h Host) usbInterfaces(dir, name string) []api.ResourcesUSBDeviceInterface {
	out := []api.ResourcesUSBDeviceInterface{}
	for _, part := range (Host{}).list(dir) {
		sub := dir + "/" + part
		if !strings.HasPrefix(part, name+":") || !exists(sub, "bInterfaceNumber") {
			continue
		}
		driver := h.linked(sub, "driver")
		i := api.ResourcesUSBDeviceInterface{
			Driver: driver, DriverVersion: h.driverVersion(driver), Number: hex(line(sub, "bInterfaceNumber")),
			ClassID: hex(line(sub, "bInterfaceClass")), SubClassID: hex(line(sub, "bInterfaceSubClass")),
		}
		i.Class = usbClasses[i.ClassID]
		out = append(out, i)
	}
	return out
}

func hex(s string) int64 {
	n, _ := strconv.ParseInt(s, 16, 64) // 0 is what interfaces without a class have
	return n
}

// usbClasses names the classes of interfaces that the USB Implementers Forum numbers.
var usbClasses = map[int64]string{
	0x01: "Audio", 0x02: "Communications", 0x03: "Human Interface Device", 0x05: "Physical Interface Device", 0x06: "Imaging", 0x07: "Printer",
	0x08: "Mass Storage", 0x09: "Hub", 0x0a: "CDC Data", 0x0b: "Chip/SmartCard", 0x0d: "Content Security", 0x0e: "Video",
	0x0f: "Personal Healthcare", 0xdc: "Diagnostic", 0xe0: "Wireless", 0xef: "Miscellaneous", 0xfe: "Application Specific", 0xff: "Vendor Specific Class",
}
