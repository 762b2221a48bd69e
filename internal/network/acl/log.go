package acl

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lxd/internal/errs"
)

const (
	// most is how large a log grows before it begins anew, with the last one kept beside it.
	most = 1 << 20
	// burst is how many packets are noted in a second: a log that costs more than the packets would be a weapon.
	burst = 200
	// again is how long after a failure the log is listened to again.
	again = time.Minute
)

// Entry is one logged packet (wire names).
type Entry struct {
	Time     time.Time `json:"time"`
	Proto    string    `json:"proto"`
	Src      string    `json:"src"`
	Dst      string    `json:"dst"`
	SrcPort  string    `json:"src_port,omitempty"`
	DstPort  string    `json:"dst_port,omitempty"`
	ICMPType string    `json:"icmp_type,omitempty"`
	ICMPCode string    `json:"icmp_code,omitempty"`
	Action   string    `json:"action"`
}

// Source hands out packets that rules logged, until ctx ends; label is "ACL-DIRECTION-RULE ACTION".
type Source func(ctx context.Context, to func(label string, packet []byte)) error

// Follow writes what is logged into the logs of the ACLs, until ctx ends.
func (s *Service) Follow(ctx context.Context, from Source) {
	w := writer{dir: s.d.LogDir}
	for ctx.Err() == nil {
		if err := from(ctx, w.note); err != nil {
			slog.Warn("Packets that network ACLs log are not noted", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// writer writes the logs; it is used by one goroutine.
type writer struct {
	dir    string
	second int64
	count  int
}

func (w *writer) note(label string, packet []byte) {
	now := time.Now()
	if now.Unix() != w.second {
		w.second, w.count = now.Unix(), 0
	}
	if w.count++; w.count > burst {
		return
	}
	name, e, err := parseLogged(label, packet)
	if err != nil || CheckName(name) != nil {
		return // of no rule of ours
	}
	e.Time = now.UTC()
	if err := appendEntry(logFile(w.dir, name), e); err != nil {
		slog.Warn("A packet that a network ACL logs is not noted", "acl", name, "err", err)
	}
}

func logFile(dir, name string) string { return filepath.Join(dir, name+".log") }

func appendEntry(file string, e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if info, err := os.Stat(file); err == nil && info.Size() > most {
		if err := os.Rename(file, file+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// Log copies the log of an ACL to w, oldest first.
func (s *Service) Log(ctx context.Context, proj, name string, w io.Writer) error {
	r, err := s.find(ctx, proj, name)
	if err != nil {
		return err
	}
	for _, file := range []string{logFile(s.d.LogDir, r.Name) + ".1", logFile(s.d.LogDir, r.Name)} {
		f, err := os.Open(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("log of network ACL %s: %w", r.Name, err)
		}
	}
	return nil
}

// moveLogs removes the logs of an ACL that is gone, or gives them its new name.
func (s *Service) moveLogs(from, to string) error {
	var fails []error
	for _, suffix := range []string{"", ".1"} {
		file := logFile(s.d.LogDir, from) + suffix
		var err error
		if to == "" {
			err = os.Remove(file)
		} else {
			err = os.Rename(file, logFile(s.d.LogDir, to)+suffix)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			fails = append(fails, err)
		}
	}
	return errors.Join(fails...)
}

// protocols are the names of IP protocols.
var protocols = map[byte]string{1: "icmp4", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}

// parseLogged reads a label and the beginning of an IP packet.
func parseLogged(label string, packet []byte) (name string, e Entry, err error) {
	rule, action, ok := strings.Cut(label, " ")
	for range 2 { // the direction and the rule's number
		rule = rule[:max(0, strings.LastIndexByte(rule, '-'))]
	}
	if !ok || rule == "" || len(packet) == 0 {
		return "", e, errs.Newf(errs.Invalid, "%q is no label of a rule", label)
	}
	var proto byte
	var rest []byte
	switch {
	case packet[0]>>4 == 4 && len(packet) >= 20:
		src, _ := netip.AddrFromSlice(packet[12:16])
		dst, _ := netip.AddrFromSlice(packet[16:20])
		e.Src, e.Dst, proto = src.String(), dst.String(), packet[9]
		rest = packet[min(len(packet), int(packet[0]&15)*4):]
	case packet[0]>>4 == 6 && len(packet) >= 40:
		src, _ := netip.AddrFromSlice(packet[8:24])
		dst, _ := netip.AddrFromSlice(packet[24:40])
		e.Src, e.Dst, proto, rest = src.String(), dst.String(), packet[6], packet[40:]
	default:
		return "", e, errs.Newf(errs.Invalid, "not an IP packet")
	}
	e.Action = action
	if e.Proto = protocols[proto]; e.Proto == "" {
		e.Proto = fmt.Sprint(proto)
	}
	switch {
	case strings.HasPrefix(e.Proto, "icmp") && len(rest) >= 2:
		e.ICMPType, e.ICMPCode = fmt.Sprint(rest[0]), fmt.Sprint(rest[1])
	case (e.Proto == "tcp" || e.Proto == "udp") && len(rest) >= 4:
		e.SrcPort, e.DstPort = fmt.Sprint(binary.BigEndian.Uint16(rest)), fmt.Sprint(binary.BigEndian.Uint16(rest[2:]))
	}
	return rule, e, nil
}
