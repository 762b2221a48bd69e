package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is one daemon under measurement with its own client, state directory and network namespace.
type server struct {
	label, lxd, lxc, dir, netns string
	// pool is where rows put their instances; btrfs says that there is a pool on btrfs.
	pool  string
	btrfs bool

	cmd  *exec.Cmd
	http *http.Client
}

const preseed = `storage_pools:
- name: default
  driver: dir
networks:
- name: lxdbr0
  type: bridge
profiles:
- name: default
  devices:
    root: {type: disk, path: /, pool: default}
    eth0: {type: nic, network: lxdbr0, name: eth0}
`

func (s *server) open(ctx context.Context, images []image) error {
	if err := exec.CommandContext(ctx, "ip", "netns", "add", s.netns).Run(); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	if err := exec.CommandContext(ctx, "ip", "-n", s.netns, "link", "set", "lo", "up").Run(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o711); err != nil {
		return err
	}
	s.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.dir+"/unix.socket")
	}}}
	if err := s.start(ctx); err != nil {
		return err
	}
	init := s.command(ctx, s.lxd, "init", "--preseed")
	init.Stdin = strings.NewReader(preseed)
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("lxd init: %w: %s", err, out)
	}
	for _, i := range images {
		if err := s.run(ctx, "image", "import", i.file, "--alias", i.alias); err != nil {
			return err
		}
	}
	return nil
}

// command runs a program in the server's network namespace and environment; the mounts stay those of the host.
func (s *server) command(ctx context.Context, argv ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + s.netns}, argv...)...)
	c.Env = append(os.Environ(), "LXD_DIR="+s.dir, "LXD_CONF="+s.dir+".conf", "HOME="+s.dir+".home")
	return c
}

// ownSys gives a program a /sys of its network namespace with the host's cgroups, since 5.0.2 looks for bridges there.
const ownSys = `mount -t tmpfs none /mnt && mkdir /mnt/cgroup && mount --rbind /sys/fs/cgroup /mnt/cgroup
mount -t sysfs sysfs /sys && mount --rbind /mnt/cgroup /sys/fs/cgroup && umount -R -l /mnt
exec "$@"`

func (s *server) start(ctx context.Context) error {
	s.cmd = s.command(context.WithoutCancel(ctx), "unshare", "--mount", "--propagation=slave", "sh", "-ec", ownSys, "sh", s.lxd, "--logfile", s.dir+".log")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if s.get("/internal/ready", nil) == nil {
			return nil
		}
	}
	return fmt.Errorf("the daemon is not ready after 60 s; see %s.log", s.dir)
}

// stop ends the daemon alone; instances go on.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	_ = s.cmd.Wait()
	return nil
}

func (s *server) close() {
	ctx := context.Background()
	if s.cmd != nil {
		_ = s.command(ctx, s.lxd, "shutdown", "--timeout", "60").Run()
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
	s.reap()
	_ = exec.Command("ip", "netns", "del", s.netns).Run()
	_ = exec.Command("umount", s.dir+"/shmounts").Run()
	_ = exec.Command("umount", s.dir+"/devlxd").Run()
}

// reap ends what the server left running (5.0.2 leaves its dnsmasq): the processes that name its private directory.
func (s *server) reap() {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		b, _ := os.ReadFile(p)
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p))); err == nil && pid != os.Getpid() && strings.Contains(string(b), s.dir+"/") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// run is one whole run of the server's own client.
func (s *server) run(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, s.lxc, args...)
	c.Env = append(os.Environ(), "LXD_DIR="+s.dir, "LXD_CONF="+s.dir+".conf", "HOME="+s.dir+".home")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: lxc %s: %w: %s", s.label, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// create makes an instance without the client's waiting for anything else, for the rows that need many.
func (s *server) create(ctx context.Context, name string) error {
	return s.work(ctx, "/1.0/instances", fmt.Sprintf(`{"name":%q,"source":{"type":"none"},"profiles":["default"]}`, name))
}

// work posts a request that starts an operation, and waits for its end.
func (s *server) work(ctx context.Context, path, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://lxd"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	var env struct {
		Operation, Error string
	}
	err = json.NewDecoder(resp.Body).Decode(&env)
	resp.Body.Close()
	if err != nil || env.Error != "" {
		return fmt.Errorf("POST %s: %w %s", path, err, env.Error)
	}
	return s.get(env.Operation+"/wait", nil)
}

func (s *server) get(path string, size *int64) error {
	resp, err := s.http.Get("http://lxd" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if size != nil {
		*size = n
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return err
}
