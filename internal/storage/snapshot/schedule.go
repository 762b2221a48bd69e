package snapshot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// CheckSchedule accepts a cron expression of five fields, or aliases such as @daily with commas between them.
func CheckSchedule(v string) error {
	_, err := schedules(v)
	return err
}

// schedules reads a value; each entry is one reason to act.
func schedules(v string) (all []cron.Schedule, err error) {
	v = strings.TrimSpace(v)
	if v == "" || v == "@never" { // the latter overrides what a profile says
		return nil, nil
	}
	if !strings.HasPrefix(v, "@") {
		s, err := cron.ParseStandard(v)
		if err != nil || strings.Contains(v, "TZ=") {
			return nil, fmt.Errorf("%q must be a cron expression of five fields such as \"0 6 * * *\", or aliases such as @daily", v)
		}
		return []cron.Schedule{s}, nil
	}
	for alias := range strings.SplitSeq(v, ",") {
		alias = strings.TrimSpace(alias)
		known := []string{"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@annually", "@yearly"}
		if !slices.Contains(known, alias) {
			return nil, fmt.Errorf("%q is none of %s", alias, strings.Join(known, ", "))
		}
		s, err := cron.ParseStandard(alias)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Due tells whether a schedule asks for something in the minute that begins at that time. One that is invalid never does.
func Due(schedule string, minute time.Time) bool {
	all, err := schedules(schedule)
	if err != nil {
		return false
	}
	minute = minute.Truncate(time.Minute)
	return slices.ContainsFunc(all, func(s cron.Schedule) bool { return s.Next(minute.Add(-time.Second)).Equal(minute) })
}
