package config_test

import (
	"testing"
	"time"

	"lxd/internal/instance/config"
)

func TestExpiry(t *testing.T) {
	made := time.Date(2024, 1, 31, 10, 0, 0, 0, time.UTC)
	for v, want := range map[string]string{
		"30M": "2024-01-31T10:30:00Z", "2H": "2024-01-31T12:00:00Z", "1d 1H": "2024-02-01T11:00:00Z", "2w": "2024-02-14T10:00:00Z",
		"1y": "2025-01-31T10:00:00Z", "": "0001-01-01T00:00:00Z", " ": "0001-01-01T00:00:00Z",
	} {
		at, err := config.Expiry(v, made)
		if got := at.Format(time.RFC3339); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", v, got, err, want)
		}
	}
	for _, v := range []string{"1", "d", "1x", "-1d", "99999999999999999999d", "9999999d"} {
		if at, err := config.Expiry(v, made); err == nil {
			t.Errorf("%q is accepted: %s", v, at)
		}
	}
}

func TestSchedule(t *testing.T) {
	at := time.Date(2024, 1, 1, 6, 0, 20, 0, time.UTC) // a Monday
	for v, want := range map[string]bool{
		"": false, "0 6 * * *": true, "1 6 * * *": false, "*/5 * * * *": true, "0 6 * * 1": true, "0 6 * * 2": false, "0 6,18 * * *": true,
		"@hourly": true, "@daily": false, "@daily, @hourly": true, "@never": false,
	} {
		if got := config.Due(v, at); got != want {
			t.Errorf("%q: %v", v, got)
		}
	}
	for v, ok := range map[string]bool{"@daily,@weekly": true, "@never": true, "@never,@daily": false, "0 0 1 1 *": true, "": true,
		"@every 1s": false, "60 * * * *": false, "* * *": false, "TZ=UTC 0 6 * * *": false} {
		if err := config.Keys.Validate(map[string]string{"snapshots.schedule": v}); (err == nil) != ok {
			t.Errorf("%q: %v", v, err)
		}
	}
}
