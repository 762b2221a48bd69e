package server

import (
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"lxd/internal/host/archive"
	"lxd/internal/schema"
)

// isProxy checks the address of a proxy.
func isProxy(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return fmt.Errorf("must be the address of a proxy such as http://proxy.example.org:3128")
	}
	return nil
}

// isDirectory checks the address of an ACME service.
func isDirectory(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" {
		return fmt.Errorf("must be an address that begins with https://, such as https://acme-v02.api.letsencrypt.org/directory")
	}
	return nil
}

// isDomain checks a name in the DNS that a certificate can be for.
func isDomain(s string) error {
	if !hostName.MatchString(s) || len(s) > 253 || !strings.Contains(s, ".") || strings.Trim(s, "0123456789.") == "" {
		return fmt.Errorf("must be the full name of one host in the DNS, such as lxd.example.org")
	}
	return nil
}

// isMail checks a mail address.
func isMail(s string) error {
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
		return fmt.Errorf("must be a mail address such as admin@example.org")
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

// isIssuer checks the address of an OpenID Connect issuer. Tokens and secrets go there, so it must be encrypted.
func isIssuer(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("must be the address of an OpenID Connect issuer such as https://login.example.org")
	}
	return nil
}

var scope = regexp.MustCompile(`^[!#-\[\]-~]+$`)

// areScopes checks the scopes that are asked of an issuer.
func areScopes(s string) error {
	words := strings.Fields(s)
	for _, w := range words {
		if !scope.MatchString(w) {
			return fmt.Errorf("%q is no scope", w)
		}
	}
	for _, needed := range []string{"openid", "email"} {
		if !slices.Contains(words, needed) {
			return fmt.Errorf("must have the scope %s among them: callers are known by their mail address", needed)
		}
	}
	return nil
}

// isSpan checks a time that something lasts, which must be more than none.
func isSpan(s string) error {
	var from time.Time
	at, err := schema.ExpiresAt(from, s)
	switch {
	case err == nil && !at.After(from):
		err = fmt.Errorf("must be longer than nothing")
	case err == nil && at.After(from.AddDate(100, 0, 0)):
		err = fmt.Errorf("must be no longer than 100 years")
	}
	return err
}
