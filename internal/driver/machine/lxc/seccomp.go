package lxc

// defaultPolicy denies what no container may do, whatever its capabilities: loading kernels and modules, opening files by handle past
// all mounts, and forced unmounting of what the host may be using.
const defaultPolicy = `2
denylist
reject_force_umount
[all]
kexec_load errno 38
open_by_handle_at errno 38
init_module errno 38
finit_module errno 38
delete_module errno 38
`
