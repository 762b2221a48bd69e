// Package resource prints what the hardware of a server has.
package resource

import (
	"fmt"
	"io"
	"strings"

	"lxd/api"
	"lxd/internal/cli/render"
)

// outline prints nested lines; it remembers nothing but how deep it is.
type outline struct {
	out   io.Writer
	depth string
}

func (o outline) line(format string, args ...any) { fmt.Fprintf(o.out, o.depth+format+"\n", args...) }

// field prints a line unless the value is empty or zero.
func (o outline) field(title string, value any) {
	if value != "" && value != int64(0) {
		o.line("%s: %v", title, value)
	}
}

func (o outline) in(by string) outline { return outline{o.out, o.depth + by} }

// Print writes r to w as an outline.
func Print(w io.Writer, r *api.Resources) {
	o := outline{out: w}
	o.system(&r.System)
	o.cpus(&r.CPU)
	o.memory(&r.Memory)
	o.gpus(&r.GPU)
	o.nics(&r.Network)
	o.disks(&r.Storage)
}

func (o outline) system(s *api.ResourcesSystem) {
	if s.UUID == "" && s.Vendor == "" && s.Product == "" {
		return
	}
	o.line("System:")
	in := o.in("  ")
	for _, f := range [][2]string{{"UUID", s.UUID}, {"Vendor", s.Vendor}, {"Product", s.Product}, {"Family", s.Family},
		{"Version", s.Version}, {"SKU", s.Sku}, {"Serial", s.Serial}, {"Type", s.Type}} {
		in.field(f[0], f[1])
	}
	o.line("")
}

// several prints one item below its title, or all of them numbered below the plural with an s.
func several[T any](o outline, title string, items []T, print func(outline, *T)) {
	if len(items) == 1 {
		o.line("%s:", title)
		print(o.in("  "), &items[0])
		return
	}
	o.line("%s:", plural(title))
	for i := range items {
		o.in("  ").line("%s %d:", title, i)
		print(o.in("    "), &items[i])
	}
}

// plural puts an s behind the first word of title.
func plural(title string) string {
	word, rest, found := strings.Cut(title, " ")
	if !found {
		return word + "s"
	}
	return word + "s " + rest
}

func (o outline) cpus(cpu *api.ResourcesCPU) {
	several(o, fmt.Sprintf("CPU (%s)", cpu.Architecture), cpu.Sockets, outline.socket)
}

func (o outline) socket(s *api.ResourcesCPUSocket) {
	o.field("Vendor", s.Vendor)
	o.field("Name", s.Name)
	if len(s.Cache) > 0 {
		o.line("Caches:")
		for _, c := range s.Cache {
			o.in("  ").line("- Level %d (type: %s): %s", c.Level, c.Type, render.Size(c.Size, 0))
		}
	}
	o.line("Cores:")
	for _, core := range s.Cores {
		in := o.in("  ")
		in.line("- Core %d", core.Core)
		in.line("  Frequency: %dMhz", core.Frequency)
		in.line("  Threads:")
		for _, t := range core.Threads {
			in.line("    - %d (id: %d, online: %v, NUMA node: %d)", t.Thread, t.ID, t.Online, t.NUMANode)
		}
	}
	if s.Frequency > 0 {
		o.line("Frequency: %dMhz (min: %dMhz, max: %dMhz)", s.Frequency, s.FrequencyMinimum, s.FrequencyTurbo)
	}
}

func (o outline) memory(m *api.ResourcesMemory) {
	o.line("")
	o.line("Memory:")
	sizes := func(in outline, used, total int64) {
		in.line("Free: %s", render.Size(total-used, 2))
		in.line("Used: %s", render.Size(used, 2))
		in.line("Total: %s", render.Size(total, 2))
	}
	in := o.in("  ")
	if m.HugepagesTotal > 0 {
		in.line("Hugepages:")
		sizes(in.in("  "), m.HugepagesUsed, m.HugepagesTotal)
	}
	if len(m.Nodes) > 1 {
		in.line("NUMA nodes:")
		for _, n := range m.Nodes {
			in.in("  ").line("Node %d:", n.NUMANode)
			sizes(in.in("    "), n.Used, n.Total)
		}
	}
	sizes(in, m.Used, m.Total)
}

func (o outline) gpus(g *api.ResourcesGPU) {
	if len(g.Cards) == 0 {
		return
	}
	o.line("")
	several(o, "GPU", g.Cards, func(o outline, c *api.ResourcesGPUCard) {
		o.line("NUMA node: %d", c.NUMANode)
		o.pciName("Vendor", c.Vendor, c.VendorID)
		o.pciName("Product", c.Product, c.ProductID)
		o.field("PCI address", c.PCIAddress)
		o.driver(c.Driver, c.DriverVersion)
		if c.DRM != nil {
			o.line("DRM:")
			o.in("  ").line("ID: %d", c.DRM.ID)
			if c.DRM.CardName != "" {
				o.in("  ").line("Card: %s (%s)", c.DRM.CardName, c.DRM.CardDevice)
			}
			if c.DRM.RenderName != "" {
				o.in("  ").line("Render: %s (%s)", c.DRM.RenderName, c.DRM.RenderDevice)
			}
		}
	})
}

func (o outline) pciName(title, name, id string) {
	if name != "" {
		o.line("%s: %s (%s)", title, name, id)
	}
}

func (o outline) driver(name, version string) {
	if name != "" {
		o.line("Driver: %s (%s)", name, version)
	}
}

func (o outline) nics(n *api.ResourcesNetwork) {
	if len(n.Cards) == 0 {
		return
	}
	o.line("")
	several(o, "NIC", n.Cards, func(o outline, c *api.ResourcesNetworkCard) {
		o.line("NUMA node: %d", c.NUMANode)
		o.pciName("Vendor", c.Vendor, c.VendorID)
		o.pciName("Product", c.Product, c.ProductID)
		o.field("PCI address", c.PCIAddress)
		o.driver(c.Driver, c.DriverVersion)
		if len(c.Ports) == 0 {
			return
		}
		o.line("Ports:")
		for _, p := range c.Ports {
			in := o.in("  ")
			in.line("- Port %d (%s)", p.Port, p.Protocol)
			in.field("  ID", p.ID)
			in.field("  Address", p.Address)
			in.line("  Auto negotiation: %v", p.AutoNegotiation)
			in.line("  Link detected: %v", p.LinkDetected)
			if p.LinkSpeed > 0 {
				in.line("  Link speed: %dMbit/s (%s duplex)", p.LinkSpeed, p.LinkDuplex)
			}
		}
	})
}

func (o outline) disks(s *api.ResourcesStorage) {
	if len(s.Disks) == 0 {
		return
	}
	o.line("")
	several(o, "Disk", s.Disks, func(o outline, d *api.ResourcesStorageDisk) {
		o.line("NUMA node: %d", d.NUMANode)
		o.field("ID", d.ID)
		o.field("Device", d.Device)
		o.field("Model", d.Model)
		o.field("Type", d.Type)
		o.line("Size: %s", render.Size(d.Size, 2))
		o.field("WWN", d.WWN)
		o.line("Read-Only: %v", d.ReadOnly)
		o.line("Removable: %v", d.Removable)
		if len(d.Partitions) == 0 {
			return
		}
		o.line("Partitions:")
		for _, p := range d.Partitions {
			in := o.in("  ")
			in.line("- Partition %d", p.Partition)
			in.field("  ID", p.ID)
			in.field("  Device", p.Device)
			in.line("  Read-Only: %v", p.ReadOnly)
			in.line("  Size: %s", render.Size(p.Size, 2))
		}
	})
}
