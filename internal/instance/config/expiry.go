package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// checkExpiry accepts numbers with the units M H d w m y, separated by spaces.
func checkExpiry(v string) error {
	_, err := Expiry(v, time.Time{})
	return err
}

// Expiry is when something made at that time expires; the zero time is never.
func Expiry(v string, made time.Time) (time.Time, error) {
	if strings.TrimSpace(v) == "" {
		return time.Time{}, nil
	}
	at := made
	for part := range strings.FieldsSeq(v) {
		n, err := strconv.Atoi(part[:len(part)-1])
		if err != nil || n < 0 || n > 1_000_000 {
			return time.Time{}, badExpiry(part)
		}
		switch part[len(part)-1] {
		case 'M':
			at = at.Add(time.Duration(n) * time.Minute)
		case 'H':
			at = at.Add(time.Duration(n) * time.Hour)
		case 'd':
			at = at.AddDate(0, 0, n)
		case 'w':
			at = at.AddDate(0, 0, 7*n)
		case 'm':
			at = at.AddDate(0, n, 0)
		case 'y':
			at = at.AddDate(n, 0, 0)
		default:
			return time.Time{}, badExpiry(part)
		}
	}
	return at, nil
}

func badExpiry(part string) error {
	return fmt.Errorf("%q must be a number and one of M, H, d, w, m, y, such as 12H", part)
}
