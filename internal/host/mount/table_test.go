package mount_test

import (
	"strings"
	"testing"

	"lxd/internal/host/mount"
)

func TestParse(t *testing.T) {
	got, err := mount.Parse(strings.NewReader(
		`22 27 0:21 / /proc rw,relatime - proc proc rw
57 27 8:1 /a\040b /mnt/c\011d\134e rw,nosuid shared:5 master:3 - ext4 /dev/sda1 rw,discard
58 27 0:9 / /none rw - tmpfs none
`))
	if err != nil || len(got) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	want := mount.Info{
		ID: 57, Parent: 27, Root: "/a b", Path: "/mnt/c\td\\e", FSType: "ext4", Source: "/dev/sda1", Options: "rw,nosuid", Super: "rw,discard", Shared: true,
	}
	if got[1] != want {
		t.Errorf("got %+v, want %+v", got[1], want)
	}
	if got[0].Shared || got[2].Super != "" {
		t.Errorf("got %+v and %+v", got[0], got[2])
	}
	for _, bad := range []string{"x", "1 2 3:4 / / rw proc proc rw", "a b 3:4 / / rw - proc proc rw"} {
		if _, err := mount.Parse(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("22 27 0:21 / /pr\\040oc rw,relatime - proc proc rw")
	f.Add(`1 2 3:4 / /\04 rw - a b`)
	f.Fuzz(func(t *testing.T, s string) {
		all, err := mount.Parse(strings.NewReader(s))
		if err == nil && len(all) > strings.Count(s, "\n")+1 {
			t.Errorf("%d mounts of %q", len(all), s)
		}
	})
}
