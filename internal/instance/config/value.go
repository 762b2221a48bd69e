package config

import (
	"errors"
	"strconv"
	"strings"

	"lxd/internal/schema"
)

// seconds is a whole number of seconds that is not negative.
var seconds = schema.Between(0, 1<<31-1)

// checkAllowance accepts "50%" and "25ms/100ms".
func checkAllowance(v string) error {
	_, err := parseAllowance(v)
	return err
}

// allowance is a share of CPU time: percent when others want it too, or quota of period (in microseconds) always.
type allowance struct{ percent, quota, period int64 }

func parseAllowance(v string) (allowance, error) {
	bad := errors.New("must be a percentage such as 50%, or a time per period such as 25ms/100ms")
	if p, ok := strings.CutSuffix(v, "%"); ok {
		n, err := strconv.ParseInt(p, 10, 64)
		if err != nil || n < 1 || n > 100 {
			return allowance{}, bad
		}
		return allowance{percent: n}, nil
	}
	q, p, ok := strings.Cut(v, "/")
	quota, err1 := milliseconds(q)
	period, err2 := milliseconds(p)
	if !ok || err1 != nil || err2 != nil {
		return allowance{}, bad
	}
	return allowance{quota: quota * 1000, period: period * 1000}, nil
}

func milliseconds(v string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSuffix(v, "ms"), 10, 64)
	if err != nil || n < 1 || n > 1000 || !strings.HasSuffix(v, "ms") {
		return 0, errors.New("must be from 1ms to 1000ms")
	}
	return n, nil
}

// checkMemory accepts a size or a percentage.
func checkMemory(v string) error {
	_, err := parseMemory(v, 100)
	return err
}

// parseMemory reads a size, or a percentage of total, in bytes.
func parseMemory(v string, total int64) (int64, error) {
	if p, ok := strings.CutSuffix(v, "%"); ok {
		n, err := strconv.ParseInt(p, 10, 64)
		if err != nil || n < 1 || n > 100 {
			return 0, errors.New("must be a size such as 512MiB, or a percentage from 1% to 100%")
		}
		return total * n / 100, nil
	}
	n, err := schema.ParseSize(v)
	if err == nil && n == 0 {
		err = errors.New("must be more than 0")
	}
	return n, err
}
