package server

import (
	"bufio"
	"context"
	"os"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"lxd/api"
)

// Version is the version of the API's reference server that this one follows.
const Version = api.Version

// Facts is what the composition root knows of the server and its host.
type Facts struct {
	// Name is the host's name, or the member's in a cluster.
	Name string
	// Clustered tells whether the server is a member of a cluster.
	Clustered bool
	// Driver and DriverVersion name what runs instances, such as "lxc" and "5.0.2"; several are joined by " | ".
	Driver, DriverVersion string
	InstanceTypes         []string
	Firewall              string
	// Certificate is the server's own, in PEM.
	Certificate, CertificateFingerprint string
	// LXCFeatures tells which abilities what runs containers has.
	LXCFeatures map[string]string
	// StorageDrivers are those that pools can have.
	StorageDrivers []api.ServerStorageDriverInfo
	// StorageInUse names the drivers of the pools that exist and their versions. Nil is none.
	StorageInUse func(ctx context.Context) (names, versions []string, err error)
	// Addresses lists where the API is served. Nil is nowhere but the unix socket.
	Addresses func() []string
}

// Environment is the description of the server in GET /1.0.
func (f Facts) Environment(ctx context.Context, project string) (api.ServerEnvironment, error) {
	env := api.ServerEnvironment{
		Addresses: []string{}, Architectures: Architectures(), BackupMetadataVersionRange: []int64{1, 2},
		Certificate: f.Certificate, CertificateFingerprint: f.CertificateFingerprint,
		Driver: f.Driver, DriverVersion: f.DriverVersion, InstanceTypes: list(f.InstanceTypes), Firewall: f.Firewall,
		KernelFeatures: kernelFeatures(), LXCFeatures: table(f.LXCFeatures),
		Project: project, Server: "lxd", ServerClustered: f.Clustered, ServerEventMode: "full-mesh", ServerName: f.Name,
		ServerPid: int64(os.Getpid()), ServerVersion: Version, StorageSupportedDrivers: f.StorageDrivers,
	}
	if env.StorageSupportedDrivers == nil {
		env.StorageSupportedDrivers = []api.ServerStorageDriverInfo{}
	}
	if f.Addresses != nil {
		env.Addresses = list(f.Addresses())
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return env, err
	}
	env.Kernel, env.KernelVersion = unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:])
	env.KernelArchitecture = unix.ByteSliceToString(u.Machine[:])
	env.OSName, env.OSVersion = osRelease()
	if f.StorageInUse == nil {
		return env, nil
	}
	names, versions, err := f.StorageInUse(ctx)
	env.Storage, env.StorageVersion = strings.Join(names, " | "), strings.Join(versions, " | ")
	return env, err
}

// Architectures are those whose programs the host runs, by the kernel's names, its own first.
func Architectures() []string {
	byGo := map[string][]string{
		"amd64": {"x86_64", "i686"}, "arm64": {"aarch64", "armv7l"}, "386": {"i686"}, "arm": {"armv7l"},
		"ppc64le": {"ppc64le"}, "s390x": {"s390x"}, "riscv64": {"riscv64"}, "loong64": {"loongarch64"},
	}
	if a, ok := byGo[runtime.GOARCH]; ok {
		return a
	}
	return []string{runtime.GOARCH}
}

// osRelease is the name and version of the host's distribution as of the first call: GET /1.0 is what clients ask most.
var osRelease = sync.OnceValues(readOSRelease)

// readOSRelease reads what osRelease keeps; a host without the file has none.
func readOSRelease() (name, version string) {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "", ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		k, v, _ := strings.Cut(lines.Text(), "=")
		switch v = strings.Trim(v, `"'`); k {
		case "NAME":
			name = v
		case "VERSION_ID":
			version = v
		}
	}
	return name, version
}

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func table(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
