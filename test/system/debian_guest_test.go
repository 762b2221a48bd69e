//go:build system

package system

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"lxd/test/harness"
)

// guests is a daemon with the image of a whole distribution.
func guests(t *testing.T) *harness.Daemon {
	t.Helper()
	harness.Bin(t)
	image := harness.Debian(t)
	d := harness.New(t)
	d.Start()
	d.Init()
	d.LXC("image", "import", image, "--alias", "debian")
	return d
}

// up waits until the guest's systemd has started everything, and fails the test if something in it failed.
func up(t *testing.T, d *harness.Daemon, name string) {
	t.Helper()
	state := ""
	eventually(t, name+" is up", func() bool {
		out, _ := d.TryLXC("exec", name, "--", "systemctl", "is-system-running")
		state = strings.TrimSpace(out)
		return state == "running" || state == "degraded"
	})
	if state != "running" {
		t.Errorf("%s is %s: %s", name, state, d.LXC("exec", name, "--", "systemctl", "--failed", "--no-legend", "--plain"))
	}
}

// in runs a shell script in a guest, and fails the test if it fails.
func in(t *testing.T, d *harness.Daemon, name, script string) string {
	t.Helper()
	out, err := d.TryLXC("exec", name, "--env", "LC_ALL=C.UTF-8", "--env", "DEBIAN_FRONTEND=noninteractive", "--", "bash", "-euc", script)
	if err != nil {
		t.Fatalf("in %s: %s: %v\n%s", name, script, err, out)
	}
	return strings.TrimSpace(out)
}

// send writes a file of the host into a guest.
func send(t *testing.T, d *harness.Daemon, name, from, to string, mode string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := d.Command(os.Getenv("LXD_TEST_BIN")+"/lxc", "exec", name, "--", "tee", to)
	var errors bytes.Buffer
	c.Stdin, c.Stderr = f, &errors
	if err := c.Run(); err != nil {
		t.Fatalf("send %s: %v: %s", from, err, errors.String())
	}
	in(t, d, name, "chmod "+mode+" "+to)
}

// within fails the test if do takes longer.
func within(t *testing.T, limit time.Duration, what string, do func()) {
	t.Helper()
	begin := time.Now()
	do()
	if took := time.Since(begin); took > limit {
		t.Errorf("%s took %v, more than %v", what, took, limit)
	}
}

func TestDebianLife(t *testing.T) {
	d := guests(t)
	before := d.Traces(t)
	d.LXC("launch", "debian", "c1")
	d.LXC("launch", "debian", "c2")
	up(t, d, "c1")
	up(t, d, "c2")
	ip := address(t, d, "c1")
	eventually(t, "IPv6 address", func() bool { return strings.Contains(d.LXC("list", "^c1$", "-f", "csv", "-c", "6"), ":") })
	eventually(t, "name of c1 in c2", func() bool {
		out, _ := d.TryLXC("exec", "c2", "--", "getent", "ahostsv4", "c1.lxd")
		return strings.Contains(out, ip)
	})
	in(t, d, "c2", "ping -c1 -W5 c1.lxd")
	eventually(t, "IPv6 by name", func() bool {
		_, err := d.TryLXC("exec", "c2", "--", "ping", "-6", "-c1", "-W2", "c1.lxd")
		return err == nil
	})

	in(t, d, "c1", "echo mine > /etc/only-c1; rm -r /usr/share/common-licenses; echo changed >> /etc/issue; sync -f /etc")
	if out := in(t, d, "c2", "ls /etc/only-c1 2>&1 || true; ls -d /usr/share/common-licenses; grep -c changed /etc/issue || true"); !strings.Contains(out, "No such file") ||
		!strings.HasSuffix(out, "/usr/share/common-licenses\n0") {
		t.Errorf("c2 sees the changes of c1: %s", out)
	}
	kept := func() {
		t.Helper()
		in(t, d, "c1", "test $(cat /etc/only-c1) = mine; test ! -e /usr/share/common-licenses; grep -q changed /etc/issue")
	}

	within(t, 8*time.Second, "a clean stop", func() { d.LXC("stop", "c1") })
	if s := strings.TrimSpace(d.LXC("list", "^c1$", "-f", "csv", "-c", "s")); s != "STOPPED" {
		t.Fatal("after stop:", s)
	}
	d.LXC("start", "c1")
	up(t, d, "c1")
	kept()
	if out := in(t, d, "c1", "journalctl --list-boots --no-pager 2>/dev/null | wc -l; test ! -d /var/log/journal || journalctl -b -1 -n 3 --no-pager"); out == "" {
		t.Error("no journal")
	}

	pid := state(t, d, "c1").Pid
	within(t, 15*time.Second, "a restart", func() { d.LXC("restart", "c1") })
	up(t, d, "c1")
	if state(t, d, "c1").Pid == pid {
		t.Error("restart changed nothing")
	}
	kept()

	pid = state(t, d, "c1").Pid
	_, _ = d.TryLXC("exec", "c1", "--", "systemctl", "reboot") // may be cut off by what it asks for
	eventually(t, "c1 is back after a reboot", func() bool { s := state(t, d, "c1"); return s.Status == "Running" && s.Pid > 0 && s.Pid != pid })
	up(t, d, "c1")
	address(t, d, "c1")
	kept()

	d.Kill()
	d.Start()
	kept()
	in(t, d, "c1", "systemctl is-system-running")
	d.LXC("restart", "-f", "c1")
	up(t, d, "c1")
	kept()

	_, _ = d.TryLXC("exec", "c2", "--", "systemctl", "poweroff")
	eventually(t, "c2 is off", func() bool { return strings.TrimSpace(d.LXC("list", "^c2$", "-f", "csv", "-c", "s")) == "STOPPED" })
	d.LXC("delete", "-f", "c1", "c2")
	d.LXC("image", "delete", "debian")
	var left []string
	for _, x := range before.Diff(d.Traces(t)) {
		if strings.HasPrefix(x, "+ ") { // the image, which was there before, is gone
			left = append(left, x)
		}
	}
	if len(left) > 0 {
		t.Errorf("left over:\n%s", strings.Join(left, "\n"))
	}
}

// demo is a package with a service, a user, a configuration file and a folder that its second version replaces.
func demo(version string) harness.Package {
	return harness.Package{
		Name: "guestdemo", Version: version,
		Files: map[string]string{
			"usr/share/guestdemo/version":     version + "\n",
			"usr/share/guestdemo/v" + version: "only in this version\n",
			"etc/guestdemo.conf":              "setting = " + version + "\n",
			"lib/systemd/system/guestdemo.service": "[Unit]\nDescription=demo\n[Service]\nUser=guestdemo\nStateDirectory=guestdemo\nExecStart=/bin/sleep infinity\n" +
				"[Install]\nWantedBy=multi-user.target\n",
		},
		Control: map[string]string{
			"conffiles": "/etc/guestdemo.conf\n",
			"postinst": "#!/bin/sh\nset -e\nid guestdemo >/dev/null 2>&1 || useradd --system --no-create-home guestdemo\n" +
				"systemctl daemon-reload\nsystemctl enable --now guestdemo.service\n",
			"prerm":  "#!/bin/sh\nset -e\nsystemctl disable --now guestdemo.service\n",
			"postrm": "#!/bin/sh\nset -e\nsystemctl daemon-reload\n",
		},
	}
}

func TestDebianPackagesServicesUsers(t *testing.T) {
	d := guests(t)
	d.LXC("launch", "debian", "c1")
	up(t, d, "c1")
	for _, version := range []string{"1", "2"} {
		file := demo(version).Build(t)
		send(t, d, "c1", file, "/tmp/guestdemo.deb", "644")
		in(t, d, "c1", "apt-get -qy install /tmp/guestdemo.deb")
		if got := in(t, d, "c1", "dpkg-query -W -f '${Version} ${Status}' guestdemo; cat /usr/share/guestdemo/version; cd /usr/share/guestdemo; echo v*; systemctl is-active guestdemo; stat -c %U /proc/$(systemctl show -P MainPID guestdemo)"); got !=
			version+" install ok installed"+version+"\nv"+version+" version\nactive\nguestdemo" {
			t.Errorf("version %s: %q", version, got)
		}
	}
	in(t, d, "c1", "systemctl stop guestdemo; ! systemctl is-active guestdemo; systemctl start guestdemo; systemctl restart guestdemo; systemctl is-active guestdemo")
	d.LXC("restart", "c1")
	up(t, d, "c1")
	in(t, d, "c1", "systemctl is-active guestdemo")
	in(t, d, "c1", "apt-get -qy remove guestdemo && test -e /etc/guestdemo.conf && apt-get -qy purge guestdemo && test ! -e /etc/guestdemo.conf && test ! -e /usr/share/guestdemo")

	// a package of the image itself: reinstalled over the lower layer, then removed from it
	in(t, d, "c1", `cd /tmp && mkdir -p ping/DEBIAN && dpkg-query -s iputils-ping | grep -vE '^(Status|Conffiles| /)' > ping/DEBIAN/control
		dpkg -L iputils-ping | while read f; do [ -d "$f" ] || { mkdir -p "ping$(dirname $f)"; cp -a "$f" "ping$f"; }; done
		dpkg-deb -b ping ping.deb && dpkg -i ping.deb && dpkg -V iputils-ping && ping -c1 localhost && dpkg -r iputils-ping && ! test -e /bin/ping`)

	in(t, d, "c1", "useradd -m -s /bin/bash -u 4242 joe && echo joe:secret | chpasswd && test $(stat -c %u /home/joe) = 4242")
	if got := in(t, d, "c1", "su - joe -c 'touch f; stat -c %U:%G f; id -un; pwd'"); got != "joe:joe\njoe\n/home/joe" {
		t.Errorf("as joe: %q", got)
	}
	if got := strings.TrimSpace(d.LXC("exec", "c1", "--user", "4242", "--cwd", "/home/joe", "--", "sh", "-c", "id -u; pwd")); got != "4242\n/home/joe" {
		t.Errorf("exec --user: %q", got)
	}
	in(t, d, "c1", "userdel -r joe && ! test -e /home/joe")
}

func TestDebianFiles(t *testing.T) {
	d := guests(t)
	d.LXC("launch", "debian", "c1")
	up(t, d, "c1")
	for what, script := range map[string]string{
		"capabilities": `cp /bin/sleep /usr/local/bin/s && setcap cap_net_raw,cap_net_bind_service+ep /usr/local/bin/s &&
			getcap /usr/local/bin/s | grep -q cap_net_bind_service,cap_net_raw=ep
			su nobody -s /bin/sh -c '/usr/local/bin/s 5 & sleep 0.2; grep CapEff /proc/$!/status' | grep -q 0000000000002400`,
		"capability of the image, copied up": `setcap cap_net_raw+ep /bin/ip; getcap /bin/ip | grep -q cap_net_raw=ep; /bin/ip link >/dev/null; setcap -r /bin/ip; test -z "$(getcap /bin/ip)"`,
		"set-user-id":                        `cp /usr/bin/id /usr/local/bin/id0; chmod 4755 /usr/local/bin/id0; test $(su nobody -s /bin/sh -c '/usr/local/bin/id0 -u') = 0; test -u /usr/bin/passwd; touch /usr/bin/passwd; test -u /usr/bin/passwd`,
		"hard links": `ln /usr/bin/tar /usr/local/bin/tar2; cmp /usr/bin/tar /usr/local/bin/tar2; rm /usr/bin/tar; /usr/local/bin/tar2 --version >/dev/null; ln /usr/local/bin/tar2 /usr/bin/tar
			test $(stat -c %h /usr/bin/tar) = 2; test $(stat -c %i /usr/bin/tar) = $(stat -c %i /usr/local/bin/tar2)
			echo a > /root/a; ln /root/a /root/b; echo more >> /root/b; grep -q more /root/a; rm /root/a; test $(stat -c %h /root/b) = 1`,
		"folders of the image are renamed": `mv /usr/share/doc /usr/share/docs; ls /usr/share/docs/bash >/dev/null; test ! -e /usr/share/doc
			mkdir /usr/share/doc; test -z "$(ls /usr/share/doc)"; rmdir /usr/share/doc; mv /usr/share/docs/bash /root/bash-doc; mv /usr/share/docs /usr/share/doc
			test ! -e /usr/share/doc/bash; mv /root/bash-doc /usr/share/doc/bash; test -s /usr/share/doc/bash/copyright
			python=$(perl -e 'print rename("/var/backups","/var/backups2") ? "ok" : $!'); test "$python" = ok; mv /var/backups2 /var/backups`,
		"a folder is replaced": `rm -r /usr/share/zoneinfo 2>/dev/null || true; rm -r /usr/share/bash-completion; mkdir /usr/share/bash-completion; test -z "$(ls -A /usr/share/bash-completion)"; touch /usr/share/bash-completion/new`,
		"attributes":           `setfattr --version >/dev/null 2>&1 || true; perl -e 'require "syscall.ph"' 2>/dev/null || true; touch -d 2001-02-03 /etc/issue; test $(stat -c %Y /etc/issue) = $(date -d 2001-02-03 +%s)`,
		"sparse files":         `truncate -s 1G /root/sparse; test $(du -k /root/sparse | cut -f1) -lt 100; fallocate -l 1M /root/full; test $(du -k /root/full | cut -f1) -ge 1000`,
		"locks and pipes":      `flock /etc/passwd true; mkfifo /root/p; (echo x > /root/p &) ; test $(cat /root/p) = x`,
		"temporary file renamed over one of the image": `cp /etc/passwd /etc/passwd.new; mv /etc/passwd.new /etc/passwd; sed -i 's/^root:/root:/' /etc/passwd; pwck -qr || true; getent passwd root >/dev/null`,
		"mapped memory": `perl -e 'open F,"+<","/usr/lib/os-release"; print F "N"; close F'; head -c1 /usr/lib/os-release | grep -q N`,
	} {
		t.Run(strings.ReplaceAll(what, " ", "-"), func(t *testing.T) {
			defer d.Use(t)()
			in(t, d, "c1", script)
		})
	}
	d.LXC("restart", "-f", "c1")
	up(t, d, "c1")
	in(t, d, "c1", "test -s /usr/share/doc/bash/copyright; test ! -e /usr/share/docs; test $(stat -c %h /usr/bin/tar) = 2; getcap /usr/local/bin/s | grep -q net_raw; test \"$(ls /usr/share/bash-completion)\" = new")
}

func TestDebianLimits(t *testing.T) {
	d := guests(t)
	d.LXC("launch", "debian", "c1", "-c", "limits.memory=256MiB", "-c", "limits.cpu=1", "-c", "limits.processes=150", "-c", "environment.COLOUR=dark blue")
	up(t, d, "c1")
	const eat = `perl -e '$x = "a" x (%d << 20); print length $x'`
	if got := in(t, d, "c1", "nproc; echo $COLOUR; tr '\\0' '\\n' < /proc/1/environ | grep COLOUR"); got != "1\ndark blue\nCOLOUR=dark blue" {
		t.Errorf("%q", got)
	}
	if out, err := d.TryLXC("exec", "c1", "--", "sh", "-c", fmt.Sprintf(eat, 600)); err == nil {
		t.Errorf("600 MiB fit into 256: %s", out)
	}
	up(t, d, "c1") // whoever was killed, it was not the guest
	in(t, d, "c1", fmt.Sprintf(eat, 50))
	const fork = `perl -e 'for (1..300) { $p = fork; last if !defined $p; if (!$p) { sleep 60; exit } push @p, $p } print scalar @p; kill 9, @p'`
	if got, err := strconv.Atoi(in(t, d, "c1", fork)); err != nil || got < 100 || got >= 150 {
		t.Errorf("%d processes where 150 are allowed, with those of the guest", got)
	}
	d.LXC("config", "set", "c1", "limits.memory=2GiB", "limits.processes=1000")
	d.LXC("config", "unset", "c1", "limits.cpu")
	d.LXC("config", "set", "c1", "environment.COLOUR=red")
	if got := in(t, d, "c1", fmt.Sprintf(eat, 600)); got != fmt.Sprint(600<<20) {
		t.Errorf("after the memory was raised: %s", got)
	}
	if got := in(t, d, "c1", fork); got != "300" {
		t.Errorf("after the number of processes was raised: %s", got)
	}
	online := strings.TrimSpace(inNetns(t, d, "nproc", "--all"))
	if got := in(t, d, "c1", "nproc; echo $COLOUR"); got != online+"\nred" {
		t.Errorf("%q, want %s CPUs and red", got, online)
	}
	d.LXC("config", "set", "c1", "limits.cpu=0-0")
	if got := in(t, d, "c1", "nproc; grep Cpus_allowed_list /proc/self/status"); got != "1\nCpus_allowed_list:\t0" {
		t.Errorf("%q", got)
	}
	d.LXC("restart", "-f", "c1")
	up(t, d, "c1")
	if got := in(t, d, "c1", "nproc"); got != "1" {
		t.Error(got)
	}
}
