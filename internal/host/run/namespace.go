package run

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// In calls fn in another network namespace, or in this one if there is none. What fn starts begins there; goroutines that it starts do not.
func In(netns *os.File, fn func() error) error {
	if netns == nil {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine, and with it the stay
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter a network namespace: %w", err)
			return
		}
		done <- fn()
	}()
	return <-done
}
