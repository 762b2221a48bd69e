package netns_test

import (
	"net"
	"os"
	"testing"

	"lxd/internal/host/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

func TestInsideIsEmpty(t *testing.T) {
	netns.Skip(t)
	if all, err := net.Interfaces(); err != nil || len(all) == 0 || all[0].Name != "lo" {
		t.Fatal(all, err)
	}
	if _, err := os.Stat("/sys/class/net/eth0"); err == nil {
		t.Error("the host's interfaces show in /sys")
	}
	if os.Getpid() != 1 {
		t.Error("process", os.Getpid(), "is not the first of its namespace: what it starts would outlive it")
	}
}
