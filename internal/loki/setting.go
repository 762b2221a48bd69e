package loki

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"lxd/internal/event"
)

// DefaultLevel and DefaultTypes are what is sent unless the configuration says otherwise.
const (
	DefaultLevel = "info"
	DefaultTypes = event.Lifecycle + "," + event.Logging
)

// levels are the levels of log messages, the most severe first.
var levels = []string{"panic", "fatal", "error", "warning", "info", "debug", "trace"}

// Severity is the place of a level, 0 for the most severe; an unknown one is taken as information.
func Severity(level string) int {
	if i := slices.Index(levels, strings.ToLower(level)); i >= 0 {
		return i
	}
	return slices.Index(levels, "info")
}

// CheckLevel checks the name of a level.
func CheckLevel(s string) error {
	if !slices.Contains(levels, s) {
		return fmt.Errorf("must be one of %s", strings.Join(levels, ", "))
	}
	return nil
}

// CheckTypes checks a list of types of events.
func CheckTypes(s string) error {
	known := []string{event.Lifecycle, event.Logging, event.OVN}
	for _, t := range Split(s) {
		if !slices.Contains(known, t) {
			return fmt.Errorf("%q is not one of %s", t, strings.Join(known, ", "))
		}
	}
	return nil
}

// CheckURL checks the address of a server.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("must be the address of a Loki server such as https://loki.example.org:3100")
	}
	return nil
}

// CheckAuthority checks a certificate.
func CheckAuthority(s string) error {
	for rest := []byte(s); ; {
		block, more := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return fmt.Errorf("must be a certificate as PEM text")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("must be a certificate: %w", err)
		}
		if rest = more; len(strings.TrimSpace(string(rest))) == 0 {
			return nil
		}
	}
}

// Split reads a list with commas.
func Split(s string) (out []string) {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
