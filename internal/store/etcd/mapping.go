package etcd

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// release gives back the memory that a map of a file takes. The library maps its database with all pages read in, 16 MB at least,
// and they would count as the daemon's; reads are served from the snapshots in memory, and what the library still needs comes back
// from the page cache. Failing to do so costs memory only, so there is no error.
func release(file string) {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	for s := bufio.NewScanner(maps); s.Scan(); {
		var from, to uintptr
		if !strings.HasSuffix(s.Text(), " "+path) {
			continue
		}
		if _, err := fmt.Sscanf(s.Text(), "%x-%x", &from, &to); err == nil {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}
