package op

import "time"

// EachMinute calls fn at the beginning of each minute, with that minute, until done is closed. One call ends before the next begins.
func EachMinute(done <-chan struct{}, fn func(minute time.Time)) {
	for {
		wake := time.Now().Truncate(time.Minute).Add(time.Minute)
		select {
		case <-time.After(time.Until(wake)):
			fn(wake)
		case <-done:
			return
		}
	}
}
