module lxd

go 1.26
