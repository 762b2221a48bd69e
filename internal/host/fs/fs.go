// Package fs touches files whose paths or contents come from others (guests, images, backups) without ever leaving the folder
// that it was given: every path is resolved by the kernel below an open folder (openat2), the last open included.
package fs
