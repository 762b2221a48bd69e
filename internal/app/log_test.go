package app

import (
	"bytes"
	"log/slog"
	"log/syslog"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestTraced: debug messages of the packages that were named are logged, those of others are not.
func TestTraced(t *testing.T) {
	for want, packages := range map[string][]string{"debug of this package": {"rest", "app"}, "": {"rest"}} {
		var out bytes.Buffer
		log := slog.New(Traced(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}), slog.LevelWarn, packages)).With("a", 1).WithGroup("g")
		log.Debug("debug of this package")
		log.Warn("a warning")
		got := out.String()
		if !strings.Contains(got, "a warning") || !strings.Contains(got, "a=1") || strings.Contains(got, "debug of") != (want != "") {
			t.Errorf("%v: %s", packages, got)
		}
	}
	var out bytes.Buffer
	slog.New(Traced(slog.NewTextHandler(&out, nil), slog.LevelWarn, nil)).Info("all that the handler takes")
	if !strings.Contains(out.String(), "all that") {
		t.Error("nothing is traced, and something left out")
	}
}

// TestSyslog: each message goes to the system's log with the priority of its level, and without a time of its own.
func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	system, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer system.Close()
	w, err := syslog.Dial("unixgram", path, facility|syslog.LOG_INFO, "lxd")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	log := slog.New(syslogHandler(w, slog.LevelDebug))
	for priority, say := range map[string]func(string, ...any){"<27>": log.Error, "<28>": log.Warn, "<30>": log.Info, "<31>": log.Debug} {
		say("It happened", "what", "a b")
		packet := make([]byte, 4096)
		n, err := system.Read(packet)
		if err != nil {
			t.Fatal(err)
		}
		got := string(packet[:n])
		if !strings.HasPrefix(got, priority) || !strings.Contains(got, `msg="It happened" what="a b"`) || strings.Contains(got, "time=") {
			t.Errorf("want %s: %q", priority, got)
		}
	}
}
