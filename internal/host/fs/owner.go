package fs

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Owner is who gets what is made, and with which permissions.
type Owner struct {
	UID, GID int
	Mode     uint32
}

// makes calls fn so that what it makes belongs to the owner from the first moment, and without the right to exceed quotas. File
// systems that were mounted inside a container know no other ids than the container's. All other rights stay. Who is not root makes
// files of their own, and gives them away if they can.
func (o Owner) makes(fn func() error) error {
	if os.Geteuid() != 0 {
		return fn()
	}
	runtime.LockOSThread()
	rights, err := takeOn(o)
	if err == nil {
		err = fn()
	}
	if e := putDown(rights); e != nil {
		return errors.Join(err, e) // the thread stays locked: it ends with the goroutine, and nobody else gets to use it
	}
	runtime.UnlockOSThread()
	return err
}

// capabilities are those of one thread.
type capabilities struct {
	known bool
	sets  [2]unix.CapUserData
}

func capHeader() *unix.CapUserHeader {
	return &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
}

// takeOn makes the thread that calls it act for an owner, and returns what its rights were.
func takeOn(o Owner) (was capabilities, err error) {
	if err := unix.Capget(capHeader(), &was.sets[0]); err != nil {
		return was, err
	}
	was.known = true
	for _, set := range []func() error{
		func() error { _, err := unix.SetfsgidRetGid(o.GID); return err },
		func() error { _, err := unix.SetfsuidRetUid(o.UID); return err }, // takes rights away too, which are given back
		func() error {
			now := was.sets
			now[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
			return unix.Capset(capHeader(), &now[0])
		},
	} {
		if err := set(); err != nil {
			return was, err
		}
	}
	return was, nil
}

// putDown makes the thread act for root again.
func putDown(was capabilities) error {
	_, err1 := unix.SetfsuidRetUid(0)
	_, err2 := unix.SetfsgidRetGid(0)
	if !was.known {
		return errors.Join(err1, err2)
	}
	return errors.Join(err1, err2, unix.Capset(capHeader(), &was.sets[0]))
}
