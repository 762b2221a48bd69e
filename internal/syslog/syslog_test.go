package syslog_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lxd/api"
	"lxd/internal/event"
	"lxd/internal/syslog"
)

var now = time.Date(2026, 1, 1, 0, 0, 30, 0, time.UTC)

func TestParse(t *testing.T) {
	for text, want := range map[string]syslog.Message{
		"<134>Jan  1 00:00:01 box sshd[12]: hello  there\n": {Facility: 16, Severity: 6, Time: now.Add(-29 * time.Second), Host: "box", App: "sshd", PID: "12", Text: "hello  there"},
		"<29>Dec 31 23:59:59 ovn-controller: ovs|00017|binding|INFO|Claiming lport": {Facility: 3, Severity: 5, Time: now.Add(-31 * time.Second), App: "ovn-controller",
			Text: "ovs|00017|binding|INFO|Claiming lport"},
		"<30>ovn-northd: ovs|00001|x|ERR|y z": {Facility: 3, Severity: 6, App: "ovn-northd", Text: "ovs|00001|x|ERR|y z"},
		"<165>1 2026-01-01T00:00:02.003Z box ovs-vswitchd 1 ID47 [a@1 k=\"v ] \\\" w\"][b] \ufefftext": {Facility: 20, Severity: 5,
			Time: now.Add(-28*time.Second + 3*time.Millisecond), Host: "box", App: "ovs-vswitchd", PID: "1", ID: "ID47", Data: `[a@1 k="v ] \" w"][b]`, Text: "text"},
		"<14>1 - - app - - -":         {Facility: 1, Severity: 6, App: "app"},
		"<14>1 - - app - - - a - b":   {Facility: 1, Severity: 6, App: "app", Text: "a - b"},
		"no header at all":            {Facility: 1, Severity: 5, Text: "no header at all"},
		"<999>x":                      {Facility: 1, Severity: 5, Text: "<999>x"},
		"<14>1 nonsense":              {Facility: 1, Severity: 6, Text: "1 nonsense"},
		"<14>1 - - app - - [x":        {Facility: 1, Severity: 6, Text: "1 - - app - - [x"},
		"<14>1 yesterday - a - - - x": {Facility: 1, Severity: 6, Text: "1 yesterday - a - - - x"},
		"<14>a\x1b[31mb\xff\x00c":     {Facility: 1, Severity: 6, Text: "a [31mb� c"},
		"<14>":                        {Facility: 1, Severity: 6},
		"":                            {Facility: 1, Severity: 5},
	} {
		if got := syslog.Parse([]byte(text), now); !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\n got %+v\nwant %+v", text, got, want)
		}
	}
}

func TestEvent(t *testing.T) {
	for _, c := range []struct {
		in, typ string
		at      time.Time
		want    api.EventLogging
	}{
		{`<28>Jan  1 00:00:01 box ovn-controller[7]: ovs|00012|acl_log(ovn_pinctrl0)|WARN|name="a|b", verdict=drop`, event.OVN, now.Add(-29 * time.Second), api.EventLogging{
			Message: `name="a|b", verdict=drop`, Level: "warning",
			Context: map[string]string{"application": "ovn-controller", "host": "box", "pid": "7", "module": "acl_log(ovn_pinctrl0)", "sequence": "00012"},
		}},
		{"<31>cron: tick", event.Logging, now, api.EventLogging{Message: "tick", Level: "debug", Context: map[string]string{"application": "cron"}}},
		{"<24>Jun  1 00:00:01 cron: old", event.Logging, now, api.EventLogging{Message: "old", Level: "error", Context: map[string]string{"application": "cron"}}},
		{"<27>ovsdb-server: odd", event.OVN, now, api.EventLogging{Message: "odd", Level: "error", Context: map[string]string{"application": "ovsdb-server"}}},
	} {
		ev, err := syslog.Parse([]byte(c.in), now).Event(now)
		if err != nil {
			t.Fatal(err)
		}
		var got api.EventLogging
		if err := json.Unmarshal(ev.Metadata, &got); err != nil {
			t.Fatal(err)
		}
		if ev.Type != c.typ || !ev.Timestamp.Equal(c.at) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %s %s %+v", c.in, ev.Type, ev.Timestamp, got)
		}
	}
}

func TestSocket(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "sys") // paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "syslog.socket")
	if err := os.WriteFile(path, nil, 0o600); err != nil { // a crash left one
		t.Fatal(err)
	}
	hub := event.NewHub("none")
	heard := hub.Listen(t.Context(), event.Filter{Types: []string{event.OVN, event.Logging}})
	s := syslog.New(path, hub)
	for range 2 { // it can be opened again
		if err := s.Open(); err != nil {
			t.Fatal(err)
		}
		if err := s.Open(); err != nil {
			t.Fatal("open twice:", err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
			t.Fatal(st, err)
		}
		c, err := net.Dial("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"", strings.Repeat("x", 20<<10), "<30>ovn-nbctl: hello"} {
			if _, err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		if ev := <-heard; ev.Type != event.Logging || len(ev.Metadata) > 9<<10 {
			t.Error("a long message:", ev.Type, len(ev.Metadata))
		}
		if ev := <-heard; ev.Type != event.OVN || !strings.Contains(string(ev.Metadata), `"hello"`) || ev.Location != "none" {
			t.Errorf("%+v", ev)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal("close twice:", err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Error("the socket stays:", err)
		}
	}
	if syslog.New(filepath.Join(dir, "nosuch", "socket"), hub).Open() == nil {
		t.Error("there is no such folder")
	}
}

// FuzzParse looks for messages that break the parser, or come out as what no event may hold.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"<134>Jan  1 00:00:01 box sshd[12]: hello", "<165>1 2026-01-01T00:00:02Z h a 1 - [x k=\"\\\"\"] t", "<14>1 - - - - - [", "<>", "<14>\xff[]:"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := syslog.Parse(b, now)
		if m.Facility < 0 || m.Facility > 23 || m.Severity < 0 || m.Severity > 7 {
			t.Errorf("%+v", m)
		}
		for _, s := range []string{m.Host, m.App, m.PID, m.ID, m.Data, m.Text} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\n\x1b\x00") || len(s) > 3*len(b) {
				t.Errorf("%q", s)
			}
		}
		ev, err := m.Event(now)
		if err != nil || ev.Timestamp.IsZero() {
			t.Error(err, ev)
		}
	})
}
