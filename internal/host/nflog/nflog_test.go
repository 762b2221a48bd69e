package nflog_test

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"lxd/internal/host/netns"
	"lxd/internal/host/nflog"
)

func TestMain(m *testing.M) { netns.Main(m) }

func TestListen(t *testing.T) {
	netns.Skip(t)
	script := `nft add table ip t; nft add chain ip t c '{ type filter hook output priority 0; }'; nft add rule ip t c udp dport 99 log prefix '"web-1 drop"' group 77 drop`
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, got, ended := make(chan struct{}), make(chan string, 10), make(chan error)
	var packet []byte
	go func() {
		ended <- nflog.Listen(ctx, 77, func() { close(ready) }, func(prefix string, p []byte) { packet = p; got <- prefix })
	}()
	<-ready
	_ = exec.Command("bash", "-c", "echo x > /dev/udp/127.0.0.1/99").Run() // it is dropped
	select {
	case prefix := <-got:
		if prefix != "web-1 drop" || len(packet) < 28 || packet[0]>>4 != 4 || packet[23] != 99 {
			t.Errorf("%q %x", prefix, packet)
		}
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was logged")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
