package metric

import (
	"runtime"
)

// process is what Go's runtime tells of the daemon itself.
func process() set {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := set{}
	for name, n := range map[string]uint64{
		"alloc_bytes": m.Alloc, "alloc_bytes_total": m.TotalAlloc, "buck_hash_sys_bytes": m.BuckHashSys, "frees_total": m.Frees,
		"gc_sys_bytes": m.GCSys, "goroutines": uint64(runtime.NumGoroutine()), "heap_alloc_bytes": m.HeapAlloc, "heap_idle_bytes": m.HeapIdle,
		"heap_inuse_bytes": m.HeapInuse, "heap_objects": m.HeapObjects, "heap_released_bytes": m.HeapReleased, "heap_sys_bytes": m.HeapSys,
		"lookups_total": m.Lookups, "mallocs_total": m.Mallocs, "mcache_inuse_bytes": m.MCacheInuse, "mcache_sys_bytes": m.MCacheSys,
		"mspan_inuse_bytes": m.MSpanInuse, "mspan_sys_bytes": m.MSpanSys, "next_gc_bytes": m.NextGC, "other_sys_bytes": m.OtherSys,
		"stack_inuse_bytes": m.StackInuse, "stack_sys_bytes": m.StackSys, "sys_bytes": m.Sys,
	} {
		s.add("lxd_go_"+name, float64(n))
	}
	return s
}
