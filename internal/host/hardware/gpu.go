package hardware

import (
	"path/filepath"
	"strconv"
	"strings"

	"lxd/api"
)

const drm = "sys/class/drm"

// GPU lists graphics cards.
func (h Host) GPU() api.ResourcesGPU {
	out := api.ResourcesGPU{Cards: []api.ResourcesGPUCard{}}
	for _, name := range h.list(drm) {
		id, err := strconv.ParseInt(strings.TrimPrefix(name, "card"), 10, 64)
		if err != nil { // card0-HDMI-A-1 is a connector, renderD128 another face of a card
			continue
		}
		link := drm + "/" + name + "/device"
		o := h.origin(link)
		card := api.ResourcesGPUCard{
			Driver: o.driver, DriverVersion: o.version, NUMANode: o.node, PCIAddress: o.pci, USBAddress: o.usb,
			Vendor: o.vendor, VendorID: o.vendorID, Product: o.product, ProductID: o.productID,
			DRM: &api.ResourcesGPUCardDRM{ID: id, CardName: name, CardDevice: h.text(drm + "/" + name + "/dev")},
		}
		h.faces(link, card.DRM)
		if dir, err := filepath.EvalSymlinks(h.path(link)); err == nil {
			if most := number(dir, "sriov_totalvfs", 0); most > 0 {
				card.SRIOV = &api.ResourcesGPUCardSRIOV{CurrentVFs: number(dir, "sriov_numvfs", 0), MaximumVFs: most, VFs: []api.ResourcesGPUCard{}}
			}
		}
		out.Cards = append(out.Cards, card)
	}
	out.Total = int64(len(out.Cards))
	return out
}

// faces finds the other device nodes of the same card.
func (h Host) faces(link string, d *api.ResourcesGPUCardDRM) {
	for _, name := range h.list(link + "/drm") {
		dev := h.text(drm + "/" + name + "/dev")
		switch {
		case strings.HasPrefix(name, "render"):
			d.RenderName, d.RenderDevice = name, dev
		case strings.HasPrefix(name, "control"):
			d.ControlName, d.ControlDevice = name, dev
		}
	}
}
