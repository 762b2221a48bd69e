package btrfs

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// superblocks are the places on a device where btrfs keeps the description of itself.
var superblocks = []int64{64 << 10, 64 << 20, 256 << 30}

// Where things are in a superblock.
const (
	superSize   = 4096
	superUUID   = 32
	superMagic  = 64
	magicInFull = "_BHRfS_M"
)

// UUID reads from a device or file which btrfs is on it; "" means none.
func UUID(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, superSize)
	if _, err := f.ReadAt(b, superblocks[0]); errors.Is(err, io.EOF) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	if !bytes.HasPrefix(b[superMagic:], []byte(magicInFull)) {
		return "", nil
	}
	u := hex.EncodeToString(b[superUUID : superUUID+16])
	return fmt.Sprintf("%s-%s-%s-%s-%s", u[:8], u[8:12], u[12:16], u[16:20], u[20:]), nil
}

// Wipe makes a device or file, which must not be mounted, look empty.
func Wipe(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	for _, at := range superblocks {
		if at+superSize > size {
			break
		}
		if _, err := f.WriteAt(make([]byte, superSize), at); err != nil {
			return err
		}
	}
	return f.Sync()
}
