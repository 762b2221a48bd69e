package metric

// kind is the type of a metric in the exposition format.
type kind string

const (
	gauge   kind = "gauge"
	counter kind = "counter"
)

// family is one metric: all samples of one name.
type family struct {
	name string
	kind kind
	help string
}

// families are all metrics in the order in which they are shown (names and types as the published tables have them).
var families = []family{
	{"lxd_api_requests_completed_total", counter, "The total number of completed API requests."},
	{"lxd_api_requests_ongoing", gauge, "The number of API requests that are being worked on."},
	{"lxd_cpu_effective_total", gauge, "The total number of effective CPUs."},
	{"lxd_cpu_seconds_total", counter, "The total number of CPU time used in seconds."},
	{"lxd_disk_read_bytes_total", counter, "The total number of bytes read."},
	{"lxd_disk_reads_completed_total", counter, "The total number of completed reads."},
	{"lxd_disk_written_bytes_total", counter, "The total number of bytes written."},
	{"lxd_disk_writes_completed_total", counter, "The total number of completed writes."},
	{"lxd_filesystem_avail_bytes", gauge, "The number of available space in bytes."},
	{"lxd_filesystem_free_bytes", gauge, "The number of free space in bytes."},
	{"lxd_filesystem_size_bytes", gauge, "The size of the filesystem in bytes."},
	{"lxd_go_alloc_bytes", gauge, "Number of bytes allocated and still in use."},
	{"lxd_go_alloc_bytes_total", counter, "Total number of bytes allocated, even if freed."},
	{"lxd_go_buck_hash_sys_bytes", gauge, "Number of bytes used by the profiling bucket hash table."},
	{"lxd_go_frees_total", counter, "Total number of frees."},
	{"lxd_go_gc_sys_bytes", gauge, "Number of bytes used for garbage collection system metadata."},
	{"lxd_go_goroutines", gauge, "Number of goroutines that currently exist."},
	{"lxd_go_heap_alloc_bytes", gauge, "Number of heap bytes allocated and still in use."},
	{"lxd_go_heap_idle_bytes", gauge, "Number of heap bytes waiting to be used."},
	{"lxd_go_heap_inuse_bytes", gauge, "Number of heap bytes that are in use."},
	{"lxd_go_heap_objects", gauge, "Number of allocated objects."},
	{"lxd_go_heap_released_bytes", gauge, "Number of heap bytes released to the operating system."},
	{"lxd_go_heap_sys_bytes", gauge, "Number of heap bytes obtained from the operating system."},
	{"lxd_go_lookups_total", counter, "Total number of pointer lookups."},
	{"lxd_go_mallocs_total", counter, "Total number of mallocs."},
	{"lxd_go_mcache_inuse_bytes", gauge, "Number of bytes in use by mcache structures."},
	{"lxd_go_mcache_sys_bytes", gauge, "Number of bytes used for mcache structures obtained from the system."},
	{"lxd_go_mspan_inuse_bytes", gauge, "Number of bytes in use by mspan structures."},
	{"lxd_go_mspan_sys_bytes", gauge, "Number of bytes used for mspan structures obtained from the system."},
	{"lxd_go_next_gc_bytes", gauge, "Number of heap bytes when the next garbage collection takes place."},
	{"lxd_go_other_sys_bytes", gauge, "Number of bytes used for other system allocations."},
	{"lxd_go_stack_inuse_bytes", gauge, "Number of bytes in use by the stack allocator."},
	{"lxd_go_stack_sys_bytes", gauge, "Number of bytes obtained from the system for the stack allocator."},
	{"lxd_go_sys_bytes", gauge, "Number of bytes obtained from the system."},
	{"lxd_instances", gauge, "The number of instances, whatever they do."},
	{"lxd_memory_Active_anon_bytes", gauge, "The amount of anonymous memory on the active list."},
	{"lxd_memory_Active_bytes", gauge, "The amount of memory on the active lists."},
	{"lxd_memory_Active_file_bytes", gauge, "The amount of file-backed memory on the active list."},
	{"lxd_memory_Cached_bytes", gauge, "The amount of cached memory."},
	{"lxd_memory_Dirty_bytes", gauge, "The amount of memory waiting to be written back to the disk."},
	{"lxd_memory_HugepagesFree_bytes", gauge, "The amount of free memory in huge pages."},
	{"lxd_memory_HugepagesTotal_bytes", gauge, "The amount of memory in huge pages."},
	{"lxd_memory_Inactive_anon_bytes", gauge, "The amount of anonymous memory on the inactive list."},
	{"lxd_memory_Inactive_bytes", gauge, "The amount of memory on the inactive lists."},
	{"lxd_memory_Inactive_file_bytes", gauge, "The amount of file-backed memory on the inactive list."},
	{"lxd_memory_Mapped_bytes", gauge, "The amount of mapped memory."},
	{"lxd_memory_MemAvailable_bytes", gauge, "The amount of available memory."},
	{"lxd_memory_MemFree_bytes", gauge, "The amount of free memory."},
	{"lxd_memory_MemTotal_bytes", gauge, "The amount of memory that may be used."},
	{"lxd_memory_OOM_kills_total", counter, "The number of out-of-memory kills."},
	{"lxd_memory_RSS_bytes", gauge, "The amount of anonymous and swap cache memory."},
	{"lxd_memory_Shmem_bytes", gauge, "The amount of cached file system data that is swap-backed."},
	{"lxd_memory_Swap_bytes", gauge, "The amount of used swap memory."},
	{"lxd_memory_Unevictable_bytes", gauge, "The amount of unevictable memory."},
	{"lxd_memory_Writeback_bytes", gauge, "The amount of memory queued for syncing to the disk."},
	{"lxd_network_receive_bytes_total", counter, "The amount of received bytes on a given interface."},
	{"lxd_network_receive_drop_total", counter, "The number of received packets dropped on a given interface."},
	{"lxd_network_receive_errs_total", counter, "The number of receive errors on a given interface."},
	{"lxd_network_receive_packets_total", counter, "The number of received packets on a given interface."},
	{"lxd_network_transmit_bytes_total", counter, "The amount of transmitted bytes on a given interface."},
	{"lxd_network_transmit_drop_total", counter, "The number of transmitted packets dropped on a given interface."},
	{"lxd_network_transmit_errs_total", counter, "The number of transmit errors on a given interface."},
	{"lxd_network_transmit_packets_total", counter, "The number of transmitted packets on a given interface."},
	{"lxd_operations_total", counter, "The number of running operations."},
	{"lxd_procs_total", gauge, "The number of running processes."},
	{"lxd_uptime_seconds", counter, "The time since the daemon started, in seconds."},
	{"lxd_warnings_total", counter, "The number of active warnings."},
}

// Names are the metrics that there can be.
func Names() []string {
	out := make([]string, 0, len(families))
	for _, f := range families {
		out = append(out, f.name)
	}
	return out
}
