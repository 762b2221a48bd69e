package hardware

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// origin is where on the host's buses a device is.
type origin struct {
	// pci and usb are addresses, such as 0000:00:02.0 and 1:4; "" for what is not on such a bus.
	pci, usb string
	driver   string
	version  string
	node     int64
	// vendorID and productID are four hexadecimal digits; vendor and product their names, where they are known.
	vendorID, productID, vendor, product string
}

// origin follows a link such as sys/class/net/eth0/device and looks at what the device hangs on.
func (h Host) origin(link string) origin {
	o := origin{}
	dir, err := filepath.EvalSymlinks(h.path(link))
	if err != nil {
		return o // a virtual device
	}
	o.driver = h.linked(dir, "driver")
	for root := h.path("sys/devices"); strings.HasPrefix(dir, root+"/"); dir = filepath.Dir(dir) {
		switch bus := h.linked(dir, "subsystem"); {
		case bus == "usb" && o.usb == "" && exists(dir, "busnum"):
			o.usb = line(dir, "busnum") + ":" + line(dir, "devnum")
			o.vendorID, o.productID, o.vendor, o.product = line(dir, "idVendor"), line(dir, "idProduct"), line(dir, "manufacturer"), line(dir, "product")
		case bus == "pci":
			h.onPCI(&o, dir)
			return o
		}
	}
	return o
}

func (h Host) onPCI(o *origin, dir string) {
	o.pci = filepath.Base(dir)
	o.node = max(number(dir, "numa_node", 0), 0)
	if o.usb != "" {
		return // the controller's makers are not the device's
	}
	if o.driver == "" {
		o.driver = h.linked(dir, "driver")
	}
	o.version = h.driverVersion(o.driver)
	o.vendorID, o.productID = strings.TrimPrefix(line(dir, "vendor"), "0x"), strings.TrimPrefix(line(dir, "device"), "0x")
	o.vendor, o.product = h.names(o.vendorID, o.productID)
}

// driverVersion is that of the driver's module, or else of the kernel that has it built in.
func (h Host) driverVersion(driver string) string {
	if driver == "" {
		return ""
	}
	if v := h.text("sys/module/" + strings.ReplaceAll(driver, "-", "_") + "/version"); v != "" {
		return v
	}
	return h.text("proc/sys/kernel/osrelease")
}

// names looks vendor and product up in the database of PCI ids, if the host has one.
func (h Host) names(vendorID, productID string) (vendor, product string) {
	for _, name := range []string{"usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"} {
		f, err := os.Open(h.path(name))
		if err != nil {
			continue
		}
		defer f.Close()
		return lookUp(bufio.NewScanner(f), vendorID, productID)
	}
	return "", ""
}

// lookUp reads lines "VVVV  Vendor" and, below them, "\tPPPP  Product".
func lookUp(lines *bufio.Scanner, vendorID, productID string) (vendor, product string) {
	for lines.Scan() {
		text := lines.Text()
		switch {
		case vendor == "":
			if name, ok := strings.CutPrefix(text, vendorID+"  "); ok {
				vendor = name
			}
		case text != "" && text[0] != '\t' && text[0] != '#':
			return vendor, "" // the next vendor
		default:
			if name, ok := strings.CutPrefix(text, "\t"+productID+"  "); ok {
				return vendor, name
			}
		}
	}
	return vendor, ""
}

// linked is the last part of what a link in dir leads to, "" if there is none.
func (h Host) linked(dir, name string) string {
	target, err := os.Readlink(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// line and number read a file of a folder that was found already.
func line(dir, name string) string { return Host{}.text(filepath.Join(dir, name)) }

func number(dir, name string, missing int64) int64 {
	return Host{}.number(filepath.Join(dir, name), missing)
}

// list names the entries of a folder in order; one that is not there has none.
func (h Host) list(dir string) (names []string) {
	entries, err := os.ReadDir(h.path(dir))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
