package fs

import (
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	capability = "security.capability"
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// attributes reads all extended attributes of an open file or folder.
func attributes(fd int) (map[string]string, error) {
	names, err := grow(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if errors.Is(err, unix.EOPNOTSUPP) || len(names) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		v, err := grow(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[name] = string(v)
	}
	return all, nil
}

// grow calls read with a buffer that is large enough for what it has to say.
func grow(read func([]byte) (int, error)) ([]byte, error) {
	var small [256]byte
	n, err := read(small[:])
	if !errors.Is(err, unix.ERANGE) {
		return small[:max(n, 0)], err
	}
	b := make([]byte, 64<<10) // the kernel's limit
	n, err = read(b)
	return b[:max(n, 0)], err
}

// mapCapability moves the root id that a file's capabilities belong to; those without one belong to the host's root.
func mapCapability(v string, uid func(uint32) (uint32, error)) (string, error) {
	const revision2, revision3, revisionMask = 0x02000000, 0x03000000, 0xff000000
	b := []byte(v)
	if len(b) < 20 {
		return v, nil
	}
	magic := binary.LittleEndian.Uint32(b)
	root := uint32(0)
	switch {
	case magic&revisionMask == revision3 && len(b) == 24:
		root = binary.LittleEndian.Uint32(b[20:])
	case magic&revisionMask == revision2 && len(b) == 20:
		b = append(b, 0, 0, 0, 0)
	default:
		return v, nil
	}
	root, err := uid(root)
	if err != nil {
		return "", err
	}
	if root == 0 {
		binary.LittleEndian.PutUint32(b, magic&^uint32(revisionMask)|revision2)
		return string(b[:20]), nil
	}
	binary.LittleEndian.PutUint32(b, magic&^uint32(revisionMask)|revision3)
	binary.LittleEndian.PutUint32(b[20:], root)
	return string(b), nil
}

// mapACL moves the users and groups that an access list names.
func mapACL(v string, uid, gid func(uint32) (uint32, error)) (string, error) {
	const header, size, user, group = 4, 8, 0x02, 0x08
	b := []byte(v)
	for at := header; at+size <= len(b); at += size {
		to := uid
		switch binary.LittleEndian.Uint16(b[at:]) {
		case user:
		case group:
			to = gid
		default:
			continue
		}
		id, err := to(binary.LittleEndian.Uint32(b[at+4:]))
		if err != nil {
			return "", err
		}
		binary.LittleEndian.PutUint32(b[at+4:], id)
	}
	return string(b), nil
}
