package resource_test

import (
	"bytes"
	"testing"

	"lxd/api"
	"lxd/internal/cli/resource"
)

const want = `System:
  UUID: u-1
  Vendor: Acme

CPUs (x86_64):
  CPU (x86_64) 0:
    Name: Fast
    Cores:
      - Core 0
        Frequency: 2000Mhz
        Threads:
          - 0 (id: 0, online: true, NUMA node: 0)
    Frequency: 2000Mhz (min: 1000Mhz, max: 3000Mhz)
  CPU (x86_64) 1:
    Cores:

Memory:
  Hugepages:
    Free: 1.00MiB
    Used: 1.00MiB
    Total: 2.00MiB
  NUMA nodes:
    Node 0:
      Free: 1.00GiB
      Used: 0B
      Total: 1.00GiB
    Node 1:
      Free: 1.00GiB
      Used: 0B
      Total: 1.00GiB
  Free: 1.50GiB
  Used: 512.00MiB
  Total: 2.00GiB

GPU:
  NUMA node: 0
  Vendor: Acme (10de)
  Driver: acme (1)
  DRM:
    ID: 0
    Card: card0 (226:0)
    Render: renderD128 (226:128)

NIC:
  NUMA node: 0
  Ports:
    - Port 0 (ethernet)
      ID: eth0
      Auto negotiation: true
      Link detected: true
      Link speed: 1000Mbit/s (full duplex)

Disk:
  NUMA node: 0
  ID: sda
  Size: 1.00GiB
  Read-Only: false
  Removable: true
  Partitions:
    - Partition 1
      ID: sda1
      Read-Only: false
      Size: 512.00MiB
`

func TestPrint(t *testing.T) {
	r := api.Resources{
		System: api.ResourcesSystem{UUID: "u-1", Vendor: "Acme"},
		CPU: api.ResourcesCPU{Architecture: "x86_64", Sockets: []api.ResourcesCPUSocket{
			{Name: "Fast", Frequency: 2000, FrequencyMinimum: 1000, FrequencyTurbo: 3000, Cores: []api.ResourcesCPUCore{{Frequency: 2000, Threads: []api.ResourcesCPUThread{{Online: true}}}}}, {}}},
		Memory: api.ResourcesMemory{HugepagesUsed: 1 << 20, HugepagesTotal: 2 << 20, Used: 512 << 20, Total: 2 << 30,
			Nodes: []api.ResourcesMemoryNode{{Total: 1 << 30}, {NUMANode: 1, Total: 1 << 30}}},
		GPU: api.ResourcesGPU{Cards: []api.ResourcesGPUCard{{Vendor: "Acme", VendorID: "10de", Driver: "acme", DriverVersion: "1",
			DRM: &api.ResourcesGPUCardDRM{CardName: "card0", CardDevice: "226:0", RenderName: "renderD128", RenderDevice: "226:128"}}}},
		Network: api.ResourcesNetwork{Cards: []api.ResourcesNetworkCard{{Ports: []api.ResourcesNetworkCardPort{
			{ID: "eth0", Protocol: "ethernet", AutoNegotiation: true, LinkDetected: true, LinkSpeed: 1000, LinkDuplex: "full"}}}}},
		Storage: api.ResourcesStorage{Disks: []api.ResourcesStorageDisk{{ID: "sda", Size: 1 << 30, Removable: true,
			Partitions: []api.ResourcesStorageDiskPartition{{ID: "sda1", Partition: 1, Size: 512 << 20}}}}},
	}
	var out bytes.Buffer
	resource.Print(&out, &r)
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
