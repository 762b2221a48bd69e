package app

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"lxd/api"
	"lxd/internal/host/cgroup"
	"lxd/internal/warning"
)

// lack is the warning about a feature that the host does not have, and what that means.
type lack struct {
	feature cgroup.Feature
	warning api.WarningType
	effect  string
}

func lacks() []lack {
	return []lack{
		{cgroup.Blkio, api.WarningCouldntFindTheCGroupBlkio, "limits of disks have no effect"},
		{cgroup.BlkioWeight, api.WarningCouldntFindTheCGroupBlkioWeight, "limits.disk.priority has no effect"},
		{cgroup.CPU, api.WarningCouldntFindTheCGroupCPUController, "limits.cpu.allowance and limits.cpu.priority have no effect"},
		{cgroup.CPUSet, api.WarningCouldntFindTheCGroupCpUsetController, "limits.cpu has no effect"},
		{cgroup.CPUAcct, api.WarningCouldntFindTheCGroupCpUacctController, "the CPU time of instances is not known"},
		{cgroup.Devices, api.WarningCouldntFindTheCGroupDevicesController, "the devices of privileged containers cannot be restricted"},
		{cgroup.Freezer, api.WarningCouldntFindTheCGroupFreezerController, "instances cannot be paused"},
		{cgroup.HugeTLB, api.WarningCouldntFindTheCGroupHugetlbController, "limits.hugepages.* has no effect"},
		{cgroup.Memory, api.WarningCouldntFindTheCGroupMemoryController, "limits.memory has no effect"},
		{cgroup.NetPrio, api.WarningCouldntFindTheCGroupNetworkPriorityController, "limits.network.priority has no effect: use limits.priority of NICs"},
		{cgroup.Pids, api.WarningCouldntFindTheCGroupPidsController, "limits.processes has no effect"},
		{cgroup.Swap, api.WarningCouldntFindTheCGroupMemorySwapAccounting, "limits.memory.swap has no effect"},
	}
}

// warnOfHost raises warnings about what the host lacks, and resolves those about what it has.
func (a *App) warnOfHost(ctx context.Context) error {
	if a.domain.backends.Lacks == nil {
		return nil
	}
	missing, err := a.domain.backends.Lacks()
	if err != nil {
		return err
	}
	for _, l := range lacks() {
		message := ""
		if slices.Contains(missing, l.feature) {
			message = l.effect
		}
		err = errors.Join(err, a.warn(ctx, l.warning, message))
	}
	message := ""
	if b, e := os.ReadFile("/sys/module/apparmor/parameters/enabled"); e != nil || strings.TrimSpace(string(b)) != "Y" {
		message = "the kernel does not have AppArmor, or it is switched off: containers are confined by their namespaces, system call filters and capabilities alone"
	}
	err = errors.Join(err, a.warn(ctx, api.WarningAppArmorSupportHasBeenDisabled, message))
	message = ""
	if _, e := a.domain.backends.Machine.Probe(ctx); e != nil {
		message = "containers: " + e.Error()
	}
	return errors.Join(err, a.warn(ctx, api.WarningInstanceTypeNotOperational, message))
}

// warn raises a warning about the server, or resolves it if there is no message.
func (a *App) warn(ctx context.Context, t api.WarningType, message string) error {
	if message == "" {
		return a.domain.warnings.Resolve(ctx, t, warning.Entity{})
	}
	return a.domain.warnings.Raise(ctx, t, warning.Entity{}, message)
}

// tendWarnings looks for what is to be warned of, and removes old warnings, for as long as the daemon runs.
func (a *App) tendWarnings(ctx context.Context) error {
	if err := a.warnOfHost(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.onClose("warnings", func(context.Context) error { cancel(); return nil })
	go a.domain.warnings.Tend(ctx, a.ops)
	go a.domain.networks.Tend(ctx)
	go a.domain.pools.Tend(ctx)
	go a.domain.acls.Follow(ctx, a.domain.networks.Logged)
	return nil
}
