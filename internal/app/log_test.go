package app_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"lxd/internal/app"
)

// TestTraced: debug messages of the packages that were named are logged, those of others are not.
func TestTraced(t *testing.T) {
	for want, packages := range map[string][]string{"debug of this package": {"rest", "app_test"}, "": {"rest"}} {
		var out bytes.Buffer
		log := slog.New(app.Traced(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}), slog.LevelWarn, packages)).With("a", 1).WithGroup("g")
		log.Debug("debug of this package")
		log.Warn("a warning")
		got := out.String()
		if !strings.Contains(got, "a warning") || !strings.Contains(got, "a=1") || strings.Contains(got, "debug of") != (want != "") {
			t.Errorf("%v: %s", packages, got)
		}
	}
	var out bytes.Buffer
	slog.New(app.Traced(slog.NewTextHandler(&out, nil), slog.LevelWarn, nil)).Info("all that the handler takes")
	if !strings.Contains(out.String(), "all that") {
		t.Error("nothing is traced, and something left out")
	}
}
