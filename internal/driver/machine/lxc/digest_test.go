package lxc

import (
	"strings"
	"testing"

	"lxd/internal/errs"
)

func TestDigest(t *testing.T) {
	for policy, want := range map[string]string{
		"2\ndenylist\nreject_force_umount\n[all]\nmount errno 1\n# no\nkill\n": "2147418112 1\numount2 327693 1 7 1 1\nmount 327681\nkill 2147483648\n",
		"2\nallowlist\n" + nativeOnly + "\nread\n":                             "2147483648 0\nread 2147418112\n",
		"2\nallowlist errno 5\n[all]\nread\n[elsewhere]\nwrite":                "327685 1\nread 2147418112\n",
		"2\ndenylist\n" + nativeOnly + "\nioctl errno 1 [1,0x10,SCMP_CMP_MASKED_EQ,0xff] [0,2,SCMP_CMP_GT]\nsocket [0,16,SCMP_CMP_EQ]": "2147418112 0\n" +
			"ioctl 327681 1 7 255 16 0 6 2 0\nsocket 2147483648 0 4 16 0\n",
		"2\ndenylist\nread log\nwrite trap": "2147418112 1\nread 2147221504\nwrite 196608\n",
	} {
		got, native, err := digest(policy)
		if err != nil || got != want || native != strings.Contains(want[:14], " 0\n") {
			t.Errorf("%s:\n%s%v", policy, got, err)
		}
	}
	for _, bad := range []string{"", "1\ndenylist", "2\nsometimes", "2\nallowlist later", "2\ndenylist\nread later", "2\ndenylist\nread errno many",
		"2\ndenylist\nread [9,1,SCMP_CMP_EQ]", "2\ndenylist\nread [1,1,EQUAL]", "2\ndenylist\nread [1,1]", "2\ndenylist\nread [1,1,SCMP_CMP_EQ", "2\ndenylist\nread [1,x,SCMP_CMP_EQ]"} {
		if got, _, err := digest(bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
	}
}

func FuzzDigest(f *testing.F) {
	f.Add("2\nallowlist errno 5\n[all]\nread [1,0x10,SCMP_CMP_MASKED_EQ,0xff]\n")
	f.Fuzz(func(t *testing.T, policy string) {
		if text, _, err := digest(policy); err != nil && (text != "" || !errs.Is(err, errs.Invalid)) {
			t.Errorf("%q, %v", text, err)
		}
	})
}
