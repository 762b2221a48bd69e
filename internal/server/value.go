package server

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"

	"lxd/internal/host/archive"
)

// isProxy checks the address of a proxy.
func isProxy(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return fmt.Errorf("must be the address of a proxy such as http://proxy.example.org:3128")
	}
	return nil
}

// isCompression checks a way to pack archives.
func isCompression(s string) error {
	_, err := archive.ParseCompression(s)
	return err
}

var architectureName = regexp.MustCompile("^[a-z0-9_]{2,20}$")

// isArchitecture checks the kernel's name of an architecture.
func isArchitecture(s string) error {
	if !architectureName.MatchString(s) {
		return fmt.Errorf("must be the kernel's name of an architecture such as x86_64 or aarch64")
	}
	return nil
}

var volumeName = regexp.MustCompile("^[^/ ]+/[^/ ]+$")

// isVolume checks the name of a custom volume and of its pool.
func isVolume(s string) error {
	if !volumeName.MatchString(s) {
		return fmt.Errorf("must be POOL/VOLUME")
	}
	return nil
}
