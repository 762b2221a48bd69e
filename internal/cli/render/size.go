package render

import (
	"fmt"
	"time"
)

// Size is n bytes in the largest binary unit that fits, with decimals digits after the point.
func Size(n int64, decimals int) string {
	return scale(n, decimals, 1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"})
}

// SizeDecimal is n bytes in the largest decimal unit that fits, as traffic is counted.
func SizeDecimal(n int64, decimals int) string {
	return scale(n, decimals, 1000, []string{"kB", "MB", "GB", "TB", "PB", "EB"})
}

func scale(n int64, decimals int, step float64, units []string) string {
	value := float64(n)
	if value < step {
		return fmt.Sprintf("%dB", n)
	}
	unit := ""
	for _, unit = range units {
		value /= step
		if value < step {
			break
		}
	}
	return fmt.Sprintf("%.*f%s", decimals, value, unit)
}

// Time is t in UTC to the minute, or empty for a time that was never set.
func Time(t time.Time) string {
	if !Set(t) {
		return ""
	}
	return t.UTC().Format("2006/01/02 15:04 MST")
}

// Set tells whether t is a time and not one of the two values that mean "never".
func Set(t time.Time) bool { return !t.IsZero() && t.Unix() != 0 }
