package hardware

import (
	"encoding/binary"
	"os"
	"strings"

	"lxd/api"
)

// Tags of the vital product data of PCI devices (PCI Local Bus Specification 2.2, appendix I).
const (
	vpdName     = 0x82
	vpdReadOnly = 0x90
	vpdWritable = 0x91
	vpdMost     = 32 << 10
)

// readVPD reads what the maker wrote into a device; most have nothing.
func readVPD(path string) api.ResourcesPCIVPD {
	b, err := os.ReadFile(path)
	if err != nil || len(b) > vpdMost {
		return api.ResourcesPCIVPD{}
	}
	return parseVPD(b)
}

// parseVPD reads large resources: a tag, a length of two bytes, data. Whatever does not fit ends the list.
func parseVPD(b []byte) (v api.ResourcesPCIVPD) {
	for len(b) >= 3 && b[0]&0x80 != 0 {
		n := int(binary.LittleEndian.Uint16(b[1:]))
		if len(b) < 3+n {
			break
		}
		data := b[3 : 3+n]
		switch b[0] {
		case vpdName:
			v.ProductName = text(data)
		case vpdReadOnly, vpdWritable:
			vpdFields(&v, data)
		}
		b = b[3+n:]
	}
	return v
}

// vpdFields reads keywords of two letters, a length of one byte, data.
func vpdFields(v *api.ResourcesPCIVPD, b []byte) {
	for len(b) >= 3 && len(b) >= 3+int(b[2]) {
		key, data := string(b[:2]), b[3:3+int(b[2])]
		if key != "RV" && key != "RW" { // a checksum and free space
			if v.Entries == nil {
				v.Entries = map[string]string{}
			}
			v.Entries[text([]byte(key))] = text(data)
		}
		b = b[3+len(data):]
	}
}

// text keeps what can be printed.
func text(b []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b)))
}
