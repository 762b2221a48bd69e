package snapshot_test

import (
	"testing"
	"time"

	"lxd/internal/storage/snapshot"
)

func TestSchedule(t *testing.T) {
	at := time.Date(2024, 1, 1, 6, 0, 20, 0, time.UTC) // a Monday
	for v, want := range map[string]bool{
		"": false, "0 6 * * *": true, "1 6 * * *": false, "*/5 * * * *": true, "0 6 * * 1": true, "0 6 * * 2": false, "0 6,18 * * *": true,
		"@hourly": true, "@daily": false, "@daily, @hourly": true, "@never": false,
	} {
		if got := snapshot.Due(v, at); got != want {
			t.Errorf("%q: %v", v, got)
		}
	}
	for v, ok := range map[string]bool{"@daily,@weekly": true, "@never": true, "@never,@daily": false, "0 0 1 1 *": true, "": true,
		"@every 1s": false, "60 * * * *": false, "* * *": false, "TZ=UTC 0 6 * * *": false} {
		if err := snapshot.CheckSchedule(v); (err == nil) != ok {
			t.Errorf("%q: %v", v, err)
		}
	}
}
