package etcd

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"lxd/internal/errs"
)

const (
	// low is the free space below which the disk counts as full.
	low = 2 * segment
	// allowance is what may still be written then: it fits in what is allocated already, and is enough to undo, to delete and
	// to stop, which is what makes room again.
	allowance = segment / 4
	// ahead is how much of the database file is allocated beyond its present end.
	ahead = 4 << 20
)

// headroom refuses writes in time, since the library cannot go on once its disk is full.
type headroom struct {
	dir  string
	mu   sync.Mutex
	left int64
}

func newHeadroom(dir string) (*headroom, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errs.Newf(errs.Unavailable, "make the state directory: %w", err)
	}
	return &headroom{dir: dir, left: allowance}, nil
}

// spend accounts for a transaction, or refuses it.
func (h *headroom) spend(r *pb.TxnRequest) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(h.dir, &fs); err != nil {
		return errs.Newf(errs.Unavailable, "look for free space in %s: %w", h.dir, err)
	}
	free := int64(fs.Bfree) * fs.Bsize
	h.mu.Lock()
	defer h.mu.Unlock()
	if free >= low {
		h.left = allowance
		return nil
	}
	size := int64(proto.Size(r)) + 256
	if size > h.left {
		return errs.Newf(errs.Unavailable, "no space left in %s: %d MiB are free, and %d MiB are needed to keep the state safe: free some space, then try again",
			h.dir, free>>20, low>>20)
	}
	h.left -= size
	return nil
}

// reserve allocates the database file's next blocks. Without them a disk filled by others would stop the server; that they cannot
// be had is found out by spend.
func (h *headroom) reserve() {
	f, err := os.OpenFile(databaseFile(h.dir), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return
	}
	_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, st.Size+ahead)
}
