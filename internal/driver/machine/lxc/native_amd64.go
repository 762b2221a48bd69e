package lxc

// native is what liblxc calls the architecture of the kernel.
const native = "x86_64"
