package schema

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Types of values. All but Blob refuse control characters, so that no value can break out of a line it is written to.
var (
	String   = Type{Name: "string", OK: OneLine}
	Blob     = Type{Name: "blob"}
	Bool     = Type{Name: "bool", OK: isBool, Enum: []string{"true", "false"}}
	Integer  = Type{Name: "integer", OK: isInteger}
	Size     = Type{Name: "size", OK: isSize}
	Duration = Type{Name: "duration", OK: isDuration}
	MAC      = Type{Name: "MAC address", OK: isMAC}
	IP       = Type{Name: "IP address", OK: isIP}
	Strings  = Type{Name: "comma-separated list", OK: OneLine}
)

// OneOf is an enumeration; completion offers its values.
func OneOf(v ...string) Type {
	return Type{Name: "string", Enum: v, OK: func(s string) error {
		if !slices.Contains(v, s) {
			return fmt.Errorf("must be one of %s", strings.Join(v, ", "))
		}
		return nil
	}}
}

// Between is an integer within bounds, both included.
func Between(low, high int64) Type {
	return Type{Name: "integer", OK: func(s string) error {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < low || n > high {
			return fmt.Errorf("must be a whole number from %d to %d", low, high)
		}
		return nil
	}}
}

// IsTrue reads a boolean as LXD does: true, 1, yes, on, in any case.
func IsTrue(s string) bool {
	return slices.Contains([]string{"true", "1", "yes", "on"}, strings.ToLower(s))
}

// IsFalse reads an explicit no: false, 0, no, off, in any case.
func IsFalse(s string) bool {
	return slices.Contains([]string{"false", "0", "no", "off"}, strings.ToLower(s))
}

// OneLine refuses control characters.
func OneLine(s string) error {
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		return fmt.Errorf("control character %q at position %d is not allowed: put it on one line", s[i], i+1)
	}
	return nil
}

// ParseSize reads bytes: "512", "10MB", "2GiB"; units B, kB … EB are powers of 1000, KiB … EiB of 1024.
func ParseSize(s string) (int64, error) {
	num := strings.TrimRightFunc(s, func(r rune) bool { return !unicode.IsDigit(r) })
	unit := strings.TrimSpace(s[len(num):])
	factor, ok := units[unit]
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || !ok || n < 0 {
		return 0, fmt.Errorf("must be a size such as 512MiB or 10GB")
	}
	if n > math.MaxInt64/factor {
		return 0, fmt.Errorf("is larger than the %d bytes that can be counted", int64(math.MaxInt64))
	}
	return n * factor, nil
}

var units = map[string]int64{
	"": 1, "B": 1, "bytes": 1,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15, "EB": 1e18,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50, "EiB": 1 << 60,
}

func isBool(s string) error {
	if !IsTrue(s) && !IsFalse(s) {
		return fmt.Errorf("must be true or false")
	}
	return nil
}

func isInteger(s string) error {
	if _, err := strconv.ParseInt(s, 10, 64); err != nil {
		return fmt.Errorf("must be a whole number")
	}
	return nil
}

func isSize(s string) error { _, err := ParseSize(s); return err }

func isDuration(s string) error {
	if _, err := time.ParseDuration(s); err != nil {
		return fmt.Errorf("must be a duration such as 30s or 5m")
	}
	return nil
}

func isMAC(s string) error {
	if m, err := net.ParseMAC(s); err != nil || len(m) != 6 {
		return fmt.Errorf("must be a MAC address such as 00:16:3e:12:34:56")
	}
	return nil
}

func isIP(s string) error {
	if _, err := netip.ParseAddr(s); err != nil {
		return fmt.Errorf("must be an IPv4 or IPv6 address")
	}
	return nil
}
