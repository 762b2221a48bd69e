package relay

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// idle is how long a client may say nothing before it is forgotten.
	idle = 2 * time.Minute
	// packetSize is the most that a datagram holds.
	packetSize = 64 << 10
	// mostClients bounds what a flood of forged addresses can cost.
	mostClients = 4096
)

// packets carries datagrams: each client has a socket of its own to the other end, so that answers find their way back.
type packets struct {
	server *server
	rule   Rule
	in     net.PacketConn

	mu      sync.Mutex
	clients map[netip.AddrPort]net.Conn
}

func newPackets(s *server, r Rule, in net.PacketConn) *packets {
	return &packets{server: s, rule: r, in: in, clients: map[netip.AddrPort]net.Conn{}}
}

func (p *packets) serve(ctx context.Context) {
	buf := make([]byte, packetSize)
	for ctx.Err() == nil {
		n, from, err := p.in.ReadFrom(buf)
		if err != nil {
			if ctx.Err() != nil || isClosed(err) {
				return
			}
			continue // an error of an earlier datagram, which the kernel reports here
		}
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		if out := p.client(ctx, udp.AddrPort()); out != nil {
			_ = out.SetReadDeadline(time.Now().Add(idle)) // it is open
			_, _ = out.Write(buf[:n])                     // datagrams may get lost
		}
	}
}

// client is the socket of a client; nil when there can be none.
func (p *packets) client(ctx context.Context, from netip.AddrPort) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if out := p.clients[from]; out != nil {
		return out
	}
	if len(p.clients) >= mostClients {
		return nil
	}
	out, err := p.server.dial(ctx, p.rule.Connect)
	if err != nil {
		return nil
	}
	p.clients[from] = out
	go p.answer(from, out)
	return out
}

// answer carries what comes back to one client until it has been silent for long.
func (p *packets) answer(from netip.AddrPort, out net.Conn) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.clients, from)
		_ = out.Close() // of no consequence
	}()
	to := net.UDPAddrFromAddrPort(from)
	buf := make([]byte, packetSize)
	for {
		n, err := out.Read(buf)
		if isRefused(err) {
			continue // nobody listens there yet
		}
		if err != nil {
			return
		}
		if _, err := p.in.WriteTo(buf[:n], to); err != nil && isClosed(err) {
			return
		}
	}
}
