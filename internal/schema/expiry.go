package schema

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Expiry is how long something is kept: numbers with the units M (minutes), H (hours), d, w, m (months) and y, such as "1d 12H".
var Expiry = Type{Name: "string", OK: func(s string) error { _, err := ExpiresAt(time.Time{}, s); return err }}

// ExpiresAt is when something of that expiry, which began at from, is over. An empty expiry is never over, which is the zero time.
func ExpiresAt(from time.Time, expiry string) (time.Time, error) {
	if strings.TrimSpace(expiry) == "" {
		return time.Time{}, nil
	}
	at := from
	for _, word := range strings.Fields(expiry) {
		n, err := strconv.ParseUint(word[:len(word)-1], 10, 16)
		if err != nil {
			return time.Time{}, errExpiry
		}
		switch amount := int(n); word[len(word)-1] {
		case 'M':
			at = at.Add(time.Duration(amount) * time.Minute)
		case 'H':
			at = at.Add(time.Duration(amount) * time.Hour)
		case 'd':
			at = at.AddDate(0, 0, amount)
		case 'w':
			at = at.AddDate(0, 0, 7*amount)
		case 'm':
			at = at.AddDate(0, amount, 0)
		case 'y':
			at = at.AddDate(amount, 0, 0)
		default:
			return time.Time{}, errExpiry
		}
	}
	return at, nil
}

var errExpiry = fmt.Errorf("must be numbers with a unit M, H, d, w, m or y, such as 15d or 1d 12H")
