package schema_test

import (
	"testing"
	"time"

	"lxd/internal/schema"
)

func TestExpiresAt(t *testing.T) {
	from := time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)
	for expiry, want := range map[string]time.Time{
		"":       {},
		"30M":    from.Add(30 * time.Minute),
		"3H":     from.Add(3 * time.Hour),
		"15d":    from.AddDate(0, 0, 15),
		"2w":     from.AddDate(0, 0, 14),
		"1m":     from.AddDate(0, 1, 0),
		"1y":     from.AddDate(1, 0, 0),
		"1d 12H": from.AddDate(0, 0, 1).Add(12 * time.Hour),
		" 0M ":   from,
	} {
		if got, err := schema.ExpiresAt(from, expiry); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v %v", expiry, got, err)
		}
	}
	for _, bad := range []string{"soon", "d", "5", "-1d", "1x", "99999999d", "1.5H", "1d,2H"} {
		if _, err := schema.ExpiresAt(from, bad); err == nil || schema.Expiry.OK(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
