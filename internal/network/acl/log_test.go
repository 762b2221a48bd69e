package acl_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lxd/api"
	"lxd/internal/errs"
	"lxd/internal/network/acl"
	"lxd/internal/project"
	"lxd/internal/store"
)

// udp4 and icmp6 are packets.
func udp4() []byte {
	p := make([]byte, 28)
	p[0], p[9] = 0x45, 17
	copy(p[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint16(p[20:], 1000)
	binary.BigEndian.PutUint16(p[22:], 53)
	return p
}

func icmp6() []byte {
	p := make([]byte, 42)
	p[0], p[6], p[23], p[39], p[40] = 0x60, 58, 1, 2, 128
	return p
}

func TestLog(t *testing.T) {
	st := store.NewMem(store.Options{})
	t.Cleanup(func() { _ = st.Close() })
	must(t, project.New(project.Deps{Store: st}).Start(t.Context()))
	dir := filepath.Join(t.TempDir(), "logs")
	s := acl.New(acl.Deps{Store: st, Networks: noNetworks{st}, LogDir: dir})
	must(t, s.Create(t.Context(), "default", api.NetworkACLsPost{NetworkACLPost: api.NetworkACLPost{Name: "web-1"}}))
	read := func(name string) (lines []acl.Entry) {
		t.Helper()
		var b bytes.Buffer
		must(t, s.Log(t.Context(), "default", name, &b))
		for line := range strings.Lines(b.String()) {
			var e acl.Entry
			must(t, json.Unmarshal([]byte(line), &e))
			lines = append(lines, e)
		}
		return lines
	}
	if got := read("web-1"); got != nil {
		t.Error(got)
	}
	follow := func(packets func(to func(string, []byte))) {
		ctx, cancel := context.WithCancel(t.Context())
		s.Follow(ctx, func(_ context.Context, to func(string, []byte)) error {
			defer cancel()
			packets(to)
			return errors.New("the source ended")
		})
	}
	follow(func(to func(string, []byte)) {
		to("web-1-ingress-0 drop", udp4())
		to("web-1-egress-12 allow", icmp6())
		for _, bad := range []string{"", "x", "web-1", "../x-ingress-0 drop", "-- drop"} {
			to(bad, udp4())
		}
		for _, p := range [][]byte{nil, {0x45}, udp4()[:19], {0x60, 0}, {0}} {
			to("web-1-ingress-0 drop", p)
		}
	})
	got := read("web-1")
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	if e := got[0]; e.Proto != "udp" || e.Src != "10.0.0.1" || e.Dst != "10.0.0.2" || e.SrcPort != "1000" || e.DstPort != "53" || e.Action != "drop" || time.Since(e.Time) > time.Minute {
		t.Errorf("%+v", e)
	}
	if e := got[1]; e.Proto != "icmp6" || e.Src != "::1" || e.Dst != "::2" || e.ICMPType != "128" || e.ICMPCode != "0" || e.SrcPort != "" {
		t.Errorf("%+v", e)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Error(files)
	}

	must(t, s.Rename(t.Context(), "default", "web-1", "web"))
	if len(read("web")) != 2 {
		t.Error("the log did not follow")
	}
	follow(func(to func(string, []byte)) {
		for range 100000 { // a flood must not cost more than it is worth
			to("web-ingress-0 drop", udp4())
		}
	})
	if n := len(read("web")); n < 100 || n > 2000 {
		t.Error(n, "lines of a flood")
	}
	must(t, s.Delete(t.Context(), "default", "web"))
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Error("left:", files)
	}
	if err := s.Log(t.Context(), "default", "web", &bytes.Buffer{}); !errs.Is(err, errs.NotFound) {
		t.Error(err)
	}
}
