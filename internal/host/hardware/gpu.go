package hardware

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lxd/api"
)

const drm = "sys/class/drm"

// GPU lists graphics cards. Virtual functions are shown below their card.
func (h Host) GPU() api.ResourcesGPU {
	out := api.ResourcesGPU{Cards: []api.ResourcesGPUCard{}}
	for _, name := range h.list(drm) {
		id, err := strconv.ParseInt(strings.TrimPrefix(name, "card"), 10, 64)
		if err != nil { // card0-HDMI-A-1 is a connector, renderD128 another face of a card
			continue
		}
		link := drm + "/" + name + "/device"
		dir, err := filepath.EvalSymlinks(h.path(link))
		if err == nil && exists(dir, "physfn") {
			continue
		}
		card := h.graphics(link)
		card.DRM = &api.ResourcesGPUCardDRM{ID: id, CardName: name, CardDevice: h.text(drm + "/" + name + "/dev")}
		h.faces(link, card.DRM)
		if err == nil {
			card.SRIOV = h.virtualGraphics(dir)
		}
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

// graphics is the card that a link leads to.
func (h Host) graphics(link string) api.ResourcesGPUCard {
	o := h.origin(link)
	return api.ResourcesGPUCard{
		Driver: o.driver, DriverVersion: o.version, NUMANode: o.node, PCIAddress: o.pci, USBAddress: o.usb,
		Vendor: o.vendor, VendorID: o.vendorID, Product: o.product, ProductID: o.productID,
		Mdev: h.mediated(link), Nvidia: h.nvidia(o.pci),
	}
}

// virtualGraphics are the virtual functions of a card, nil if it can have none.
func (h Host) virtualGraphics(dir string) *api.ResourcesGPUCardSRIOV {
	most := number(dir, "sriov_totalvfs", 0)
	if most == 0 {
		return nil
	}
	out := &api.ResourcesGPUCardSRIOV{CurrentVFs: number(dir, "sriov_numvfs", 0), MaximumVFs: most, VFs: []api.ResourcesGPUCard{}}
	for _, vf := range virtualFunctions(dir) {
		out.VFs = append(out.VFs, h.graphics(strings.TrimPrefix(vf, h.path(""))))
	}
	slices.SortFunc(out.VFs, func(a, b api.ResourcesGPUCard) int { return strings.Compare(a.PCIAddress, b.PCIAddress) })
	return out
}

// mediated are the kinds of parts that a card can be divided into, by name; nil if it cannot.
func (h Host) mediated(link string) map[string]api.ResourcesGPUCardMdev {
	kinds := link + "/mdev_supported_types"
	var out map[string]api.ResourcesGPUCardMdev
	for _, kind := range h.list(kinds) {
		if out == nil {
			out = map[string]api.ResourcesGPUCardMdev{}
		}
		at := kinds + "/" + kind + "/"
		devices := h.list(at + "devices")
		if devices == nil {
			devices = []string{}
		}
		out[kind] = api.ResourcesGPUCardMdev{
			API: h.text(at + "device_api"), Available: h.number(at+"available_instances", 0), Name: h.text(at + "name"),
			Description: h.text(at + "description"), Devices: devices,
		}
	}
	return out
}

// nvidia is what the maker's own driver tells of a card, nil if that does not drive it.
func (h Host) nvidia(pci string) *api.ResourcesGPUCardNvidia {
	const all = "proc/driver/nvidia/"
	text := h.text(all + "gpus/" + pci + "/information")
	if pci == "" || text == "" {
		return nil
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(line, ":")
		info[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	out := &api.ResourcesGPUCardNvidia{Model: info["Model"], UUID: info["GPU UUID"]}
	if n, err := strconv.Atoi(info["Device Minor"]); err == nil {
		out.CardName, out.CardDevice = fmt.Sprintf("nvidia%d", n), fmt.Sprintf("%d:%d", nvidiaMajor, n)
	}
	version, _, _ := strings.Cut(h.text(all+"version"), "\n")
	if _, after, ok := strings.Cut(version, "Kernel Module"); ok {
		if f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(after), "for x86_64")); len(f) > 0 {
			out.NVRMVersion = f[0]
		}
	}
	return out
}

// nvidiaMajor is the number of that driver's devices.
const nvidiaMajor = 195

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
