package hardware

import (
	"strconv"

	"lxd/api"
)

// PCI lists the devices on PCI buses.
func (h Host) PCI() api.ResourcesPCI {
	const all = "sys/bus/pci/devices"
	out := api.ResourcesPCI{Devices: []api.ResourcesPCIDevice{}}
	for _, name := range h.list(all) {
		dir := all + "/" + name
		o := h.origin(dir)
		d := api.ResourcesPCIDevice{
			PCIAddress: name, Driver: o.driver, DriverVersion: o.version, NUMANode: o.node,
			Vendor: o.vendor, VendorID: o.vendorID, Product: o.product, ProductID: o.productID,
		}
		d.IOMMUGroup, _ = strconv.ParseInt(h.linked(h.path(dir), "iommu_group"), 10, 64) // 0 without one
		d.VPD = readVPD(h.path(dir + "/vpd"))
		out.Devices = append(out.Devices, d)
	}
	out.Total = int64(len(out.Devices))
	return out
}
