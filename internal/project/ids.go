package project

import (
	"fmt"
	"strconv"
	"strings"
)

// IDs is a range of user or group ids of the host, both ends included.
type IDs struct{ First, Last int64 }

// ParseIDs reads "1000" and "2000-3000".
func ParseIDs(text string) (IDs, error) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	first, err1 := strconv.ParseInt(low, 10, 64)
	last, err2 := strconv.ParseInt(high, 10, 64)
	if err1 != nil || err2 != nil || first < 0 || last < first || last >= 1<<32-1 {
		return IDs{}, fmt.Errorf("%q is not an id or a range of ids from 0 to %d", text, int64(1<<32-2))
	}
	return IDs{first, last}, nil
}

// checkIDs fails on what is no list of ids and ranges of ids.
func checkIDs(list string) error {
	for text := range strings.SplitSeq(list, ",") {
		if _, err := ParseIDs(strings.TrimSpace(text)); err != nil {
			return err
		}
	}
	return nil
}
