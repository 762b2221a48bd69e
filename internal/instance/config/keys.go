// Package config holds the configuration keys of instances and profiles, and reads their values.
package config

import (
	"lxd/internal/instance/cpu"
	"lxd/internal/schema"
	"lxd/internal/storage/snapshot"
)

// VM is the condition of keys that only virtual machines have; container of those that only containers have.
const (
	VM        = "virtual machine"
	container = "container"
)

// Keys are the configuration keys of instances and profiles.
var Keys = schema.New("instance", concat(
	bootKeys(), cloudInitKeys(), migrationKeys(), miscellaneousKeys(), nvidiaKeys(), rawKeys(), limitKeys(), hugepageKeys(),
	securityKeys(), idmapKeys(), syscallKeys(), snapshotKeys(), volatileKeys(), deviceVolatileKeys(),
)...)

func concat(groups ...[]schema.Key) (all []schema.Key) {
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

func bootKeys() []schema.Key {
	return []schema.Key{
		{Name: "boot.autostart", Type: schema.Bool, Short: "Whether to start the instance with the server; unset brings it back as it was"},
		{Name: "boot.autostart.delay", Type: seconds, Default: "0", Short: "Seconds to wait after the start before the next instance is started"},
		{Name: "boot.autostart.priority", Type: schema.Integer, Default: "0", Short: "Instances of higher priority are started first"},
		{Name: "boot.debug_edk2", Type: schema.Bool, Later: true, Condition: VM, Short: "Whether to log what the firmware does"},
		{Name: "boot.host_shutdown_timeout", Type: seconds, Default: "30", Live: schema.LiveYes, Short: "Seconds that the instance has to stop when the host shuts down"},
		{Name: "boot.mode", Type: schema.OneOf("uefi-secureboot", "uefi-nosecureboot", "bios"), Default: "uefi-secureboot", Later: true, Condition: VM, Short: "Firmware that the instance boots with"},
		{Name: "boot.stop.priority", Type: schema.Integer, Default: "0", Short: "Instances of higher priority are stopped first"},
	}
}

func cloudInitKeys() []schema.Key {
	return []schema.Key{
		{Name: "cloud-init.network-config", Type: schema.Blob, Default: "DHCP on eth0", Condition: "If supported by image", Short: "Network configuration for cloud-init"},
		{Name: "cloud-init.ssh-keys.*", Type: schema.Blob, Condition: "If supported by image", Short: "SSH key that cloud-init adds, as USER:KEY"},
		{Name: "cloud-init.user-data", Type: schema.Blob, Default: "#cloud-config", Condition: "If supported by image", Short: "User data for cloud-init"},
		{Name: "cloud-init.vendor-data", Type: schema.Blob, Default: "#cloud-config", Condition: "If supported by image", Short: "Vendor data for cloud-init"},
		{Name: "user.network-config", Type: schema.Blob, Default: "DHCP on eth0", Condition: "If supported by image", Short: "Older name of cloud-init.network-config"},
		{Name: "user.user-data", Type: schema.Blob, Default: "#cloud-config", Condition: "If supported by image", Short: "Older name of cloud-init.user-data"},
		{Name: "user.vendor-data", Type: schema.Blob, Default: "#cloud-config", Condition: "If supported by image", Short: "Older name of cloud-init.vendor-data"},
	}
}

func migrationKeys() []schema.Key {
	return []schema.Key{
		{Name: "migration.incremental.memory", Type: schema.Bool, Default: "false", Later: true, Live: schema.LiveYes, Condition: container, Short: "Whether memory is sent in rounds while the container runs"},
		{Name: "migration.incremental.memory.goal", Type: schema.Between(0, 100), Default: "70", Live: schema.LiveYes, Condition: container, Short: "Percentage of memory to have in sync before the container is stopped"},
		{Name: "migration.incremental.memory.iterations", Type: schema.Between(1, 999), Default: "10", Live: schema.LiveYes, Condition: container, Short: "Most rounds before the container is stopped"},
		{Name: "migration.stateful", Type: schema.Bool, Default: "false", Later: true, Condition: VM, Short: "Whether the running state can be moved and saved"},
	}
}

func miscellaneousKeys() []schema.Key {
	return []schema.Key{
		{Name: "agent.nic_config", Type: schema.Bool, Default: "false", Later: true, Condition: VM, Short: "Whether the agent gives interfaces their configured names and MTU"},
		{Name: "cluster.evacuate", Type: schema.OneOf("auto", "migrate", "live-migrate", "stop"), Default: "auto", Short: "What happens to the instance when its member is evacuated"},
		{Name: "environment.*", Type: schema.String, Live: schema.LiveYes, Short: "Environment variable for the first program and for commands"},
		{Name: "image.*", Type: schema.Blob, Short: "Property of the image that the instance was made from"},
		{Name: "linux.kernel_modules", Type: schema.Strings, Check: checkModules, Live: schema.LiveYes, Condition: container, Short: "Kernel modules to load before the start"},
		{Name: "linux.kernel_modules.load", Type: schema.OneOf("boot", "ondemand"), Default: "boot", Later: true, Condition: container, Short: "When kernel modules are loaded"},
		{Name: "linux.sysctl.*", Type: schema.String, Condition: container, Short: "Kernel parameter to set inside"},
		{Name: "placement.group", Type: schema.String, Later: true, Live: schema.LiveYes, Short: "Placement group that decides which member the instance is put on"},
		{Name: "ubuntu_pro.guest_attach", Type: schema.OneOf("off", "on", "available"), Default: "off", Later: true, Short: "Whether the guest takes over the host's Ubuntu Pro subscription"},
		{Name: "user.*", Type: schema.Blob, Short: "Free-form key of the user"},
	}
}

func nvidiaKeys() []schema.Key {
	return []schema.Key{
		{Name: "nvidia.driver.capabilities", Type: schema.Strings, Default: "compute,utility", Later: true, Condition: container, Short: "What the NVIDIA driver must be able to do"},
		{Name: "nvidia.require.cuda", Type: schema.String, Later: true, Condition: container, Short: "CUDA version that is needed"},
		{Name: "nvidia.require.driver", Type: schema.String, Later: true, Condition: container, Short: "NVIDIA driver version that is needed"},
		{Name: "nvidia.runtime", Type: schema.Bool, Default: "false", Later: true, Condition: container, Short: "Whether to pass the host's NVIDIA libraries in"},
	}
}

func rawKeys() []schema.Key {
	return []schema.Key{
		{Name: "raw.apparmor", Type: schema.Blob, Later: true, Live: schema.LiveYes, Short: "Lines for the AppArmor profile"},
		{Name: "raw.idmap", Type: schema.Blob, Check: checkRawIDMap, Short: "Extra id mappings"},
		{Name: "raw.lxc", Type: schema.Blob, Check: checkRaw, Condition: container, Short: "Lines for the liblxc configuration"},
		{Name: "raw.qemu", Type: schema.Blob, Later: true, Condition: VM, Short: "Extra QEMU arguments"},
		{Name: "raw.qemu.conf", Type: schema.Blob, Later: true, Condition: VM, Short: "Changes to the generated QEMU configuration"},
		{Name: "raw.seccomp", Type: schema.Blob, Check: checkPolicy, Condition: container, Short: "Lines for the seccomp profile"},
	}
}

func limitKeys() []schema.Key {
	return []schema.Key{
		{Name: "limits.cpu", Type: schema.String, Check: cpu.Check, Default: "1 (VMs)", Live: schema.LiveYes, Short: "Number of CPUs, or the set of CPUs, that the instance may use"},
		{Name: "limits.cpu.allowance", Type: schema.String, Check: checkAllowance, Default: "100%", Live: schema.LiveYes, Condition: container, Short: "Share of CPU time: 50% when others want it too, 25ms/100ms always"},
		{Name: "limits.cpu.nodes", Type: schema.String, Check: cpu.CheckSet, Live: schema.LiveYes, Short: "NUMA nodes whose CPUs are used"},
		{Name: "limits.cpu.pin_strategy", Type: schema.OneOf("none", "auto"), Default: "none", Later: true, Condition: VM, Short: "How virtual CPUs are pinned"},
		{Name: "limits.cpu.priority", Type: schema.Between(0, 10), Default: "10 (maximum)", Live: schema.LiveYes, Condition: container, Short: "Rank among instances that want the same CPU time"},
		{Name: "limits.disk.priority", Type: schema.Between(0, 10), Default: "5 (medium)", Live: schema.LiveYes, Short: "Rank among instances that want disk access"},
		{Name: "limits.kernel.*", Type: schema.String, Check: checkRlimit, Condition: container, Short: "Limit of each process, as SOFT:HARD, one value for both, or unlimited"},
		{Name: "limits.max_bus_ports", Type: schema.Integer, Default: "8", Later: true, Condition: VM, Short: "Number of PCIe ports for hot-plugging"},
		{Name: "limits.memory", Type: schema.String, Check: checkMemory, Default: "1GiB (VMs)", Live: schema.LiveYes, Short: "Most memory that the instance may use, in bytes or as a percentage of the host's"},
		{Name: "limits.memory.enforce", Type: schema.OneOf("soft", "hard"), Default: "hard", Live: schema.LiveYes, Condition: container, Short: "Whether the memory limit holds always or only under pressure"},
		{Name: "limits.memory.swap", Type: schema.Bool, Default: "true", Live: schema.LiveYes, Condition: container, Short: "Whether the instance may use swap beyond its memory limit"},
		{Name: "limits.memory.swap.priority", Type: schema.Between(0, 10), Default: "10 (maximum)", Live: schema.LiveYes, Condition: container, Short: "How late the instance is swapped out"},
		{Name: "limits.processes", Type: schema.Between(1, 1<<31-1), Default: "empty", Live: schema.LiveYes, Condition: container, Short: "Most processes that may run in the instance"},
	}
}

func hugepageKeys() []schema.Key {
	keys := []schema.Key{
		{Name: "limits.memory.hugepages", Type: schema.Bool, Default: "false", Later: true, Condition: VM, Short: "Whether memory is backed by huge pages"},
	}
	for _, size := range []string{"1GB", "1MB", "2MB", "64KB"} {
		keys = append(keys, schema.Key{Name: "limits.hugepages." + size, Type: schema.Size, Live: schema.LiveYes, Condition: container,
			Short: "Most memory in huge pages of " + size})
	}
	return keys
}

func securityKeys() []schema.Key {
	return []schema.Key{
		{Name: "security.agent.metrics", Type: schema.Bool, Default: "true", Later: true, Condition: VM, Short: "Whether the agent is asked for metrics"},
		{Name: "security.delegate_bpf", Type: schema.Bool, Default: "false", Later: true, Condition: "unprivileged container", Short: "Whether the container may use eBPF through a token"},
		{Name: "security.delegate_bpf.attach_types", Type: schema.Strings, Default: "false", Later: true, Condition: "unprivileged container", Short: "eBPF attachment types that are delegated"},
		{Name: "security.delegate_bpf.cmd_types", Type: schema.Strings, Default: "false", Later: true, Condition: "unprivileged container", Short: "eBPF commands that are delegated"},
		{Name: "security.delegate_bpf.map_types", Type: schema.Strings, Default: "false", Later: true, Condition: "unprivileged container", Short: "eBPF map types that are delegated"},
		{Name: "security.delegate_bpf.prog_types", Type: schema.Strings, Default: "false", Later: true, Condition: "unprivileged container", Short: "eBPF program types that are delegated"},
		{Name: "security.devlxd", Type: schema.Bool, Default: "true", Short: "Whether /dev/lxd is there inside"},
		{Name: "security.devlxd.images", Type: schema.Bool, Default: "false", Live: schema.LiveYes, Short: "Whether images can be fetched through /dev/lxd"},
		{Name: "security.devlxd.management.volumes", Type: schema.Bool, Default: "false", Later: true, Live: schema.LiveYes, Short: "Whether volumes can be managed through /dev/lxd"},
		{Name: "security.nesting", Type: schema.Bool, Default: "false", Live: schema.LiveYes, Condition: container, Short: "Whether containers can run inside"},
		{Name: "security.privileged", Type: schema.Bool, Default: "false", Condition: container, Short: "Whether root inside is root of the host"},
		{Name: "security.protection.delete", Type: schema.Bool, Default: "false", Live: schema.LiveContainer, Short: "Whether deleting the instance is refused"},
		{Name: "security.protection.shift", Type: schema.Bool, Default: "false", Live: schema.LiveYes, Condition: container, Short: "Whether changing the owners of the files is refused"},
		{Name: "security.protection.start", Type: schema.Bool, Default: "false", Live: schema.LiveContainer, Short: "Whether starting the instance is refused"},
		{Name: "security.sev", Type: schema.Bool, Default: "false", Later: true, Condition: VM, Short: "Whether memory is encrypted by AMD SEV"},
		{Name: "security.sev.policy.es", Type: schema.Bool, Default: "false", Later: true, Condition: VM, Short: "Whether registers are encrypted too"},
		{Name: "security.sev.session.data", Type: schema.String, Default: "true", Later: true, Condition: VM, Short: "Session blob of the guest owner"},
		{Name: "security.sev.session.dh", Type: schema.String, Default: "true", Later: true, Condition: VM, Short: "Diffie-Hellman key of the guest owner"},
	}
}

func idmapKeys() []schema.Key {
	return []schema.Key{
		{Name: "security.idmap.base", Type: schema.Between(1, 1<<32-2), Condition: "unprivileged container", Short: "First host id of the map"},
		{Name: "security.idmap.isolated", Type: schema.Bool, Default: "false", Condition: "unprivileged container", Short: "Whether the instance shares no ids with others"},
		{Name: "security.idmap.size", Type: schema.Between(1, 1<<32-2), Condition: "unprivileged container", Short: "Number of ids in the map"},
	}
}

func syscallKeys() []schema.Key {
	keys := []schema.Key{
		{Name: "security.syscalls.allow", Type: schema.Blob, Check: checkRules, Condition: container, Short: "System calls that are allowed, all others being refused"},
		{Name: "security.syscalls.deny", Type: schema.Blob, Check: checkRules, Condition: container, Short: "System calls that are refused"},
		{Name: "security.syscalls.deny_compat", Type: schema.Bool, Default: "false", Condition: container, Short: "Whether 32-bit system calls are refused on 64-bit hosts"},
		{Name: "security.syscalls.deny_default", Type: schema.Bool, Default: "true", Condition: container, Short: "Whether dangerous system calls are refused"},
		{Name: "security.syscalls.intercept.mount.allowed", Type: schema.Strings, Later: true, Live: schema.LiveYes, Condition: container, Short: "File systems that may be mounted"},
		{Name: "security.syscalls.intercept.mount.fuse", Type: schema.Strings, Later: true, Live: schema.LiveYes, Condition: container, Short: "File systems that are mounted by a FUSE program instead"},
	}
	for _, k := range []struct{ name, what string }{
		{"bpf", "bpf"}, {"bpf.devices", "bpf for device programs"}, {"mknod", "mknod"}, {"mount", "mount"},
		{"mount.shift", "mount with shifted ids"}, {"sched_setscheduler", "sched_setscheduler"}, {"setxattr", "setxattr"}, {"sysinfo", "sysinfo"},
	} {
		keys = append(keys, schema.Key{Name: "security.syscalls.intercept." + k.name, Type: schema.Bool, Default: "false", Later: true,
			Condition: container, Short: "Whether the server answers " + k.what})
	}
	return keys
}

func snapshotKeys() []schema.Key {
	return []schema.Key{
		{Name: "snapshots.expiry", Type: schema.Expiry, Short: "After how long snapshots are deleted, such as 1d 12H"},
		{Name: "snapshots.pattern", Type: schema.String, Check: snapshot.CheckPattern, Default: "snap%d", Short: "Template for the names of snapshots"},
		{Name: "snapshots.schedule", Type: schema.String, Check: snapshot.CheckSchedule, Default: "empty", Short: "When snapshots are taken, as a cron expression or @daily and the like"},
		{Name: "snapshots.schedule.stopped", Type: schema.Bool, Default: "false", Short: "Whether snapshots are taken of a stopped instance too"},
	}
}

func volatileKeys() []schema.Key {
	return []schema.Key{
		kept("volatile.apply_nvram", schema.Bool, "Whether firmware variables are reset at the next start"),
		kept("volatile.apply_quota", schema.Size, "Root disk size to apply at the next start"),
		kept("volatile.apply_template", schema.String, "Template trigger to run at the next start"),
		kept("volatile.attached_volumes", schema.String, "Volumes that were attached when the snapshot was taken"),
		kept("volatile.base_image", schema.String, "Fingerprint of the image that the instance was made from"),
		kept("volatile.bus.mode", schema.OneOf("persistent"), "How devices are placed on buses"),
		kept("volatile.cloud-init.instance-id", schema.String, "Identity of the instance for cloud-init"),
		kept("volatile.cluster.group", schema.String, "Cluster group that the instance was placed by"),
		kept("volatile.evacuate.origin", schema.String, "Member that the instance was evacuated from"),
		kept("volatile.idmap.base", schema.Integer, "First id of the map"),
		kept("volatile.idmap.current", schema.String, "Id map in use"),
		kept("volatile.idmap.next", schema.String, "Id map for the next start"),
		kept("volatile.last_state.idmap", schema.String, "Id map that the files on disk have"),
		kept("volatile.last_state.power", schema.String, "Whether the instance ran when it was last seen"),
		kept("volatile.last_state.ready", schema.Bool, "Whether the guest had reported to be ready"),
		kept("volatile.uuid", schema.String, "Unique id of the instance"),
		kept("volatile.uuid.generation", schema.String, "Unique id that changes when the instance goes back in time"),
		kept("volatile.vsock_id", schema.Integer, "Vsock id of the last start"),
	}
}

func deviceVolatileKeys() []schema.Key {
	return []schema.Key{
		kept("volatile.<name>.apply_quota", schema.String, "Disk size to apply at the next start"),
		kept("volatile.<name>.bus", schema.Integer, "Bus that the device is on"),
		kept("volatile.<name>.ceph_rbd", schema.String, "RBD device of the disk"),
		kept("volatile.<name>.devlxd.owner", schema.String, "Who owns the device through /dev/lxd"),
		kept("volatile.<name>.host_name", schema.String, "Name of the interface on the host"),
		kept("volatile.<name>.last_state.created", schema.Bool, "Whether the parent interface was made for the device"),
		kept("volatile.<name>.last_state.hwaddr", schema.String, "MAC address that the interface had before"),
		kept("volatile.<name>.last_state.mtu", schema.String, "MTU that the interface had before"),
		kept("volatile.<name>.last_state.vdpa.name", schema.String, "VDPA device of the interface"),
		kept("volatile.<name>.last_state.vf.hwaddr", schema.String, "MAC address that the virtual function had before"),
		kept("volatile.<name>.last_state.vf.id", schema.String, "Virtual function that is used"),
		kept("volatile.<name>.last_state.vf.spoofcheck", schema.String, "Spoof check that the virtual function had before"),
		kept("volatile.<name>.last_state.vf.vlan", schema.String, "VLAN that the virtual function had before"),
		kept("volatile.<name>.hwaddr", schema.MAC, "MAC address that was made up for the interface"),
	}
}

// kept is a key that the server keeps; clients only send it back.
func kept(name string, t schema.Type, short string) schema.Key {
	return schema.Key{Name: name, Type: t, Volatile: true, Short: short}
}
