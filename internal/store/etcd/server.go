package etcd

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/features"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

// segment is the size of a log file, and two are allocated at once; the library's 64 MB suit a cluster of its own machines.
const segment = 4 << 20

// maxRequest bounds one transaction, and with it one record.
const maxRequest = 16 << 20

// setSegment sets the library's variable once: servers in one process would otherwise race for it.
var setSegment = sync.OnceFunc(func() { wal.SegmentSizeBytes = segment })

// newServer makes the server; a failure that the library means to exit on ends it with an error instead.
func newServer(c Config, f *fault) (*etcdserver.EtcdServer, error) {
	setSegment()
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	sc, err := serverConfig(c, f.logger())
	if err != nil {
		return nil, err
	}
	type made struct {
		server *etcdserver.EtcdServer
		err    error
	}
	done := make(chan made, 1)
	go func() {
		defer func() { // files that are not what they should be can also end in a panic
			if p := recover(); p != nil {
				done <- made{err: fmt.Errorf("its files are damaged: %v", p)}
			}
		}()
		s, err := etcdserver.NewServer(sc)
		done <- made{s, err}
	}()
	select {
	case m := <-done:
		return m.server, m.err
	case <-f.happened:
		return nil, f.err
	}
}

// serverConfig is that of one member which is alone: it needs no peers, so its address is a placeholder, and it can elect itself at
// once; most of the time to ready would be that wait.
func serverConfig(c Config, lg *zap.Logger) (config.ServerConfig, error) {
	name := c.Name
	if name == "" {
		name = "local"
	}
	self, err := types.NewURLs([]string{"https://" + name + ".unconfigured:1"})
	if err != nil {
		return config.ServerConfig{}, err
	}
	return config.ServerConfig{
		Name: name, DataDir: c.Dir, PeerURLs: self, ClientURLs: self,
		InitialPeerURLsMap: types.URLsMap{name: self}, InitialClusterToken: "lxd", NewCluster: true,
		TickMs: 100, ElectionTicks: 10, InitialElectionTickAdvance: true, PreVote: true, StrictReconfigCheck: true,
		SnapshotCount: snapshotCount(c.Dir), SnapshotCatchUpEntries: catchUp, MaxSnapFiles: 2, MaxWALFiles: 2,
		BackendBatchInterval: 200 * time.Millisecond, BackendFreelistType: bbolt.FreelistMapType, QuotaBackendBytes: 4 << 30,
		MaxTxnOps: 100_000, MaxRequestBytes: maxRequest, MaxConcurrentStreams: 1 << 10, MaxLearners: 64,
		CompactionBatchLimit: 1000, CompactionSleepInterval: 10 * time.Millisecond,
		CompactHashCheckTime: time.Hour, DowngradeCheckTime: time.Hour, WatchProgressNotifyInterval: time.Hour,
		WarningApplyDuration: time.Second, WarningUnaryRequestDuration: time.Second,
		AuthToken: "simple", BcryptCost: 10, TokenTTL: 300, Metrics: "basic", V2Deprecation: config.V2DeprDefault,
		ServerFeatureGate: features.NewDefaultServerFeatureGate(name, lg), Logger: lg,
	}, nil
}

// How many entries there may be between two snapshots, and before the first one; and how many are kept in memory for members that
// have missed some.
//
// An election looks at the entries that raft has not been told are applied, and the library forgets entries of memory without
// waiting for that. With more of them kept than are ever replayed it cannot forget one that an election at start looks at, but
// for the very first, hence a first snapshot before the library forgets anything (it does after 100).
const (
	everySnapshot = 1000
	firstSnapshot = 50
	catchUp       = 1500
)

func snapshotCount(dir string) uint64 {
	if hasSnapshot(dir) {
		return everySnapshot
	}
	return firstSnapshot
}

// hasSnapshot tells whether the server has begun to forget the beginning of its log.
func hasSnapshot(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, "member", "snap", "*.snap"))
	return err == nil && len(found) > 0
}

// databaseFile is where the server keeps the state, next to its log.
func databaseFile(dir string) string { return filepath.Join(dir, "member", "snap", "db") }
