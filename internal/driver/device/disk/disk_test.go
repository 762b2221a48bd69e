package disk_test

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lxd/internal/device"
	"lxd/internal/driver/device/disk"
	"lxd/internal/errs"
	"lxd/internal/storage"
)

// volumes has one volume, v in pool p, with a snapshot s; users are who has it mounted.
type volumes struct {
	users []string
	plain bool
}

func (v *volumes) MountCustom(_ context.Context, project, pool, name, user string) (storage.Mounted, error) {
	if project != "default" || pool != "p" || name != "v" && name != "v/s" {
		return storage.Mounted{}, errs.Newf(errs.NotFound, "storage volume %q not found", name)
	}
	if !slices.Contains(v.users, user) {
		v.users = append(v.users, user)
	}
	return storage.Mounted{Root: "/pools/p/" + name, Shifted: v.plain}, nil
}

func (v *volumes) UnmountCustom(_ context.Context, _, _, _, user string) error {
	v.users = slices.DeleteFunc(v.users, func(u string) bool { return u == user })
	return nil
}

func cfg(pairs ...string) device.Config {
	c := device.Config{"type": "disk"}
	for i := 0; i < len(pairs); i += 2 {
		c[pairs[i]] = pairs[i+1]
	}
	return c
}

func env() device.Env { return device.Env{Project: "default", Instance: "c1", Name: "d"} }

func TestKeys(t *testing.T) {
	k := disk.Kind(nil)
	for name, c := range map[string]struct {
		cfg  map[string]string
		want []string
	}{
		"root":         {map[string]string{"path": "/", "pool": "default", "size": "10GiB"}, nil},
		"folder":       {map[string]string{"path": "/a b/c", "source": "/srv", "raw.mount.options": "nosuid,nodev", "limits.read": "10MB", "limits.write": "100iops"}, nil},
		"bad size":     {map[string]string{"size": "lots"}, []string{"size"}},
		"unknown keys": {map[string]string{"bogus": "1", "wrong": "2"}, []string{"bogus", "wrong"}},
		"promises":     {map[string]string{"io.bus": "nvme"}, []string{"io.bus", "not supported yet"}},
		"newline":      {map[string]string{"pool": "a\nb"}, []string{"pool", "control character"}},
		"paths":        {map[string]string{"path": "/a/../.."}, []string{"path", ".."}},
		"the root":     {map[string]string{"path": "//."}, []string{"path", "below the root"}},
		"rates":        {map[string]string{"limits.max": "iops", "limits.read": "-1"}, []string{"limits.max", "limits.read"}},
		"options":      {map[string]string{"raw.mount.options": "ro,,x y"}, []string{"raw.mount.options"}},
		"propagation":  {map[string]string{"propagation": "wide"}, []string{"propagation"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := k.Keys.Validate(c.cfg)
			if (err != nil) != (c.want != nil) {
				t.Fatal(err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in %q", w, err)
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	k := disk.Kind(nil)
	for want, c := range map[string]device.Config{
		"no storage pool":           cfg("path", "/"),
		"has no source":             cfg("path", "/", "pool", "p", "source", "v"),
		"shift cannot be set":       cfg("path", "/", "pool", "p", "shift", "true"),
		"not supported yet":         cfg("path", "/", "pool", "p", "readonly", "true"),
		"needs a path":              cfg("source", "/srv"),
		"the source is missing":     cfg("path", "/x"),
		"root disk only":            cfg("path", "/x", "source", "/srv", "size", "1GB"),
		"leave pool away":           cfg("path", "/x", "source", "/srv", "pool", "p"),
		"must begin with /":         cfg("path", "/x", "source", "srv"),
		"for volumes":               cfg("path", "/x", "source", "/srv", "source.snapshot", "s"),
		"virtual machines":          cfg("path", "/x", "pool", "p", "source", "v", "source.type", "virtual-machine"),
		"together with limits.read": cfg("path", "/x", "source", "/srv", "limits.max", "1MB", "limits.read", "1MB"),
	} {
		if _, err := k.New(t.Context(), env(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", c, err, want)
		}
		leaving := env()
		leaving.Leaving = true
		if c["path"] != "/" && c["pool"] == "" {
			if d, err := k.New(t.Context(), leaving, c); err != nil || d.Detach(t.Context()) != nil {
				t.Errorf("%v cannot be taken away: %v", c, err)
			}
		}
	}
}

func attach(t *testing.T, v *volumes, c device.Config) (device.Device, device.Grant, error) {
	t.Helper()
	d, err := disk.Kind(v).New(t.Context(), env(), c)
	if err != nil {
		t.Fatal(err)
	}
	g, err := d.Attach(t.Context())
	return d, g, err
}

func TestRoot(t *testing.T) {
	d, g, err := attach(t, nil, cfg("path", "/", "pool", "p", "limits.max", "5MB"))
	want := device.Grant{Throttles: []device.Throttle{{ReadBytes: 5e6, WriteBytes: 5e6}}}
	if err != nil || !reflect.DeepEqual(g, want) || d.Detach(t.Context()) != nil {
		t.Fatal(g, err)
	}
	if _, g, err = attach(t, nil, cfg("path", "/", "pool", "p")); err != nil || !reflect.DeepEqual(g, device.Grant{}) {
		t.Fatal(g, err)
	}
}

func TestHostPaths(t *testing.T) {
	dir := t.TempDir()
	_, g, err := attach(t, nil, cfg("path", "/x", "source", dir, "readonly", "true", "recursive", "yes", "shift", "1", "propagation", "rslave",
		"raw.mount.options", "nosuid,nodev", "limits.read", "10iops", "limits.write", "1kB"))
	want := device.Grant{
		Mounts:    []device.Mount{{Source: dir, Target: "/x", Options: []string{"nosuid", "nodev"}, ReadOnly: true, Recursive: true, Shifted: true, Propagation: "rslave"}},
		Throttles: []device.Throttle{{Path: dir, ReadRequests: 10, WriteBytes: 1000}},
	}
	if err != nil || !reflect.DeepEqual(g, want) {
		t.Fatalf("%+v %v", g, err)
	}
	missing := filepath.Join(dir, "none")
	if _, _, err := attach(t, nil, cfg("path", "/x", "source", missing)); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "required=false") {
		t.Error(err)
	}
	if _, g, err := attach(t, nil, cfg("path", "/x", "source", missing, "required", "false")); err != nil || len(g.Mounts) > 0 {
		t.Error(g, err)
	}
	if _, _, err := attach(t, nil, cfg("path", "/x", "source", os.DevNull)); err == nil || !strings.Contains(err.Error(), "unix-char") {
		t.Error(err)
	}
	if _, _, err := attach(t, nil, cfg("path", "/x", "source", dir, "raw.mount.options", "size=1M")); err == nil || !strings.Contains(err.Error(), "size=1M") {
		t.Error(err)
	}
}

func TestVolumes(t *testing.T) {
	v := &volumes{}
	d, g, err := attach(t, v, cfg("path", "/x", "pool", "p", "source", "v"))
	if err != nil || len(v.users) != 1 || !reflect.DeepEqual(g.Mounts, []device.Mount{{Source: "/pools/p/v", Target: "/x", Shifted: true}}) {
		t.Fatalf("%+v %v %v", g, v.users, err)
	}
	again := &volumes{}
	other, err := disk.Kind(again).New(t.Context(), env(), cfg("path", "/x", "pool", "p", "source", "v"))
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := other.(device.Starter); !ok || s.Start(t.Context(), nil) != nil || !slices.Equal(again.users, v.users) {
		t.Error("a restarted daemon does not know who uses the volume:", again.users)
	}
	for range 2 {
		if err := d.Detach(t.Context()); err != nil || len(v.users) > 0 {
			t.Fatal(err, v.users)
		}
	}
	v.plain = true
	if _, g, err = attach(t, v, cfg("path", "/x", "pool", "p", "source", "v", "source.snapshot", "s")); err != nil || !g.Mounts[0].ReadOnly || g.Mounts[0].Shifted {
		t.Fatalf("%+v %v", g, err)
	}
	v.users = nil
	if _, _, err = attach(t, v, cfg("path", "/x", "pool", "p", "source", "none")); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
	if _, g, err = attach(t, v, cfg("path", "/x", "pool", "p", "source", "none", "required", "false")); err != nil || len(g.Mounts) > 0 {
		t.Error(g, err)
	}
	if _, _, err = attach(t, v, cfg("path", "/x", "pool", "p", "source", "v", "raw.mount.options", "uid=1")); err == nil || len(v.users) > 0 {
		t.Error("something is left of a failed attachment:", v.users, err)
	}
}

func TestLimitsChangeLive(t *testing.T) {
	v := &volumes{}
	for _, c := range []device.Config{cfg("path", "/x", "source", t.TempDir(), "limits.max", "2iops"), cfg("path", "/x", "pool", "p", "source", "v", "limits.max", "2iops")} {
		d, _, err := attach(t, v, c)
		if err != nil {
			t.Fatal(err)
		}
		changer, ok := d.(device.Changer)
		if !ok {
			t.Fatal("no Changer")
		}
		if g, err := changer.Change(t.Context(), cfg()); err != nil || len(g.Throttles) != 1 || g.Throttles[0].ReadRequests != 2 || g.Throttles[0].Path == "" || len(g.Mounts) > 0 {
			t.Error(g, err)
		}
	}
}

func TestRestrictedProjectsFollowNoLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(dir, "outside")
	if err := os.MkdirAll(filepath.Join(dir, "allowed/folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "allowed/link")); err != nil {
		t.Fatal(err)
	}
	e := env()
	e.Restricted = true
	for source, want := range map[string]string{"allowed/folder": "", "allowed/link": "symbolic link", "allowed/link/.": "symbolic link", "allowed/none": "no such file"} {
		d, err := disk.Kind(&volumes{}).New(t.Context(), e, cfg("path", "/x", "source", dir+"/"+source))
		if err != nil {
			t.Fatal(err)
		}
		g, err := d.Attach(t.Context())
		if want == "" && (err != nil || len(g.Mounts) != 1 || !g.Mounts[0].NoLinks) {
			t.Errorf("%s: %+v %v", source, g, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", source, err)
		}
	}
	d, err := disk.Kind(&volumes{}).New(t.Context(), e, cfg("path", "/x", "source", "/dev/null"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Attach(t.Context()); !errs.Is(err, errs.Forbidden) {
		t.Error("a device of the host:", err)
	}
}
