//go:build !amd64 && !arm64

package lxc

import "runtime"

// native is what liblxc calls the architecture of the kernel.
const native = runtime.GOARCH
