package metric

import (
	"maps"
	"slices"

	"lxd/internal/machine"
)

// sampled turns the counters of one instance into samples.
func sampled(t Target, m machine.Metrics) set {
	s := set{}
	add := func(name string, value float64, more ...label) {
		s.add(name, value, append(more, label{"name", t.Name}, label{"project", t.Project}, label{"type", t.Type})...)
	}
	add("lxd_cpu_effective_total", float64(m.EffectiveCPUs))
	for _, c := range m.CPUs {
		add("lxd_cpu_seconds_total", c.Seconds, label{"cpu", c.CPU}, label{"mode", c.Mode})
	}
	for _, d := range m.Disks {
		on := label{"device", d.Device}
		add("lxd_disk_read_bytes_total", float64(d.ReadBytes), on)
		add("lxd_disk_reads_completed_total", float64(d.ReadCount), on)
		add("lxd_disk_written_bytes_total", float64(d.WrittenBytes), on)
		add("lxd_disk_writes_completed_total", float64(d.WrittenCount), on)
	}
	for _, f := range m.Filesystems {
		on := []label{{"device", f.Device}, {"fstype", f.Type}, {"mountpoint", f.MountPoint}}
		add("lxd_filesystem_avail_bytes", float64(f.Avail), on...)
		add("lxd_filesystem_free_bytes", float64(f.Free), on...)
		add("lxd_filesystem_size_bytes", float64(f.Size), on...)
	}
	for _, word := range slices.Sorted(maps.Keys(m.Memory)) {
		add("lxd_memory_"+word+"_bytes", float64(m.Memory[word]))
	}
	add("lxd_memory_OOM_kills_total", float64(m.OOMKills))
	add("lxd_procs_total", float64(m.Processes))
	for _, i := range m.Networks {
		on := label{"device", i.Name}
		add("lxd_network_receive_bytes_total", float64(i.BytesIn), on)
		add("lxd_network_receive_drop_total", float64(i.DropIn), on)
		add("lxd_network_receive_errs_total", float64(i.ErrorsIn), on)
		add("lxd_network_receive_packets_total", float64(i.PktsIn), on)
		add("lxd_network_transmit_bytes_total", float64(i.BytesOut), on)
		add("lxd_network_transmit_drop_total", float64(i.DropOut), on)
		add("lxd_network_transmit_errs_total", float64(i.ErrorsOut), on)
		add("lxd_network_transmit_packets_total", float64(i.PktsOut), on)
	}
	return s
}
