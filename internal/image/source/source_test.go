package source_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lxd/internal/errs"
	"lxd/internal/image/source"
)

func serve(t *testing.T, h http.HandlerFunc) (address, certificate string) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	return srv.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
}

var fingerprint = strings.Repeat("ab", 32)

// peer is a server of this API with one image: in one file, or with split in two.
func peer(split bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer := func(v any) {
			b, _ := json.Marshal(v)
			_, _ = fmt.Fprintf(w, `{"type":"sync","status_code":200,"metadata":%s}`, b)
		}
		one := "/1.0/images/" + fingerprint
		switch {
		case r.URL.Query().Get("project") != "p":
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"type":"error","error":"no such project","error_code":404}`)
		case r.URL.Path == "/1.0/images/aliases/a/b":
			answer(map[string]any{"name": "a/b", "target": fingerprint})
		case r.URL.Query().Get("secret") != "word":
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"type":"error","error":"Image not found","error_code":404}`)
		case r.URL.Path == one:
			answer(map[string]any{"fingerprint": fingerprint, "size": 8, "properties": map[string]string{"os": "x"}})
		case r.URL.Path == one+"/export" && split:
			form := multipart.NewWriter(w)
			w.Header().Set("Content-Type", form.FormDataContentType())
			for _, name := range []string{"metadata", "rootfs"} {
				part, _ := form.CreateFormFile(name, name+".tar")
				_, _ = io.WriteString(part, name)
			}
			_ = form.Close()
		case r.URL.Path == one+"/export":
			w.Header().Set("Content-Disposition", "inline;filename=x.tar.gz")
			_, _ = io.WriteString(w, "the file")
		default:
			http.NotFound(w, r)
		}
	}
}

// take collects the files of an image.
func take(t *testing.T, f source.Found) (string, error) {
	t.Helper()
	var all []string
	err := f.Receive(t.Context(), func(p source.Part) error {
		b, err := io.ReadAll(p.Body)
		all = append(all, p.Name+"="+string(b))
		return err
	})
	return strings.Join(all, " "), err
}

func TestPeer(t *testing.T) {
	for split, want := range map[bool]string{false: "metadata=the file", true: "metadata=metadata rootfs=rootfs"} {
		address, cert := serve(t, peer(split))
		p := source.Place{Server: address, Protocol: source.LXD, Certificate: cert, Alias: "a/b", Secret: "word", Project: "p", Open: true}
		var s source.Sources
		f, err := s.Find(t.Context(), p)
		if err != nil || f.Info.Fingerprint != fingerprint || f.Info.Properties["os"] != "x" {
			t.Fatalf("%+v %v", f.Info, err)
		}
		if got, err := take(t, f); err != nil || got != want {
			t.Errorf("%q %v", got, err)
		}
		p.Secret = "wrong"
		if _, err := s.Find(t.Context(), p); !errs.Is(err, errs.NotFound) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("%v", err)
		}
	}
}

// TestClosedNetwork sees that those who are not administrators do not get the server to look around in its own network.
func TestClosedNetwork(t *testing.T) {
	var asked atomic.Int64
	address, cert := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	port := address[strings.LastIndex(address, ":"):]
	proxy := func(*url.URL) (*url.URL, error) {
		return url.Parse("http://" + strings.TrimPrefix(address, "https://"))
	}
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "10.1.2.3", "192.168.1.1", "169.254.169.254", "[fe80::1]",
		"[fd00::1]", "100.64.1.1", "[64:ff9b::7f00:1]", "224.0.0.1", "[2002:7f00:1::]"} {
		for name, s := range map[string]*source.Sources{"directly": {}, "by a proxy": {Proxy: proxy}} {
			for _, protocol := range []string{source.LXD, source.Simplestreams, source.Direct} {
				_, err := s.Find(t.Context(), source.Place{Server: "https://" + host + port, Protocol: protocol, Certificate: cert, Alias: "x"})
				if !errs.Is(err, errs.Forbidden) {
					t.Errorf("%s %s %s: %v", host, name, protocol, err)
				}
			}
		}
	}
	if asked.Load() != 0 {
		t.Errorf("%d requests came through", asked.Load())
	}
}

// TestRedirects has servers that send us in circles, to where only administrators may go, to what is not https, and with our secret.
func TestRedirects(t *testing.T) {
	var to string
	var hops atomic.Int64
	address, cert := serve(t, func(w http.ResponseWriter, r *http.Request) {
		hops.Add(1)
		if r.Header.Get("Referer") != "" {
			t.Errorf("Referer %s", r.Header.Get("Referer"))
		}
		http.Redirect(w, r, to, http.StatusFound)
	})
	var s source.Sources
	for target, want := range map[string]string{address + "/loop": "more than 5 times", "http://192.0.2.1/": "not https", "file:///etc/passwd": "not https"} {
		to = target
		_, err := s.Find(t.Context(), source.Place{Server: address, Protocol: source.Direct, Certificate: cert, Open: true})
		if !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", target, err)
		}
	}
	if hops.Load() > 20 {
		t.Errorf("%d hops", hops.Load())
	}
	to = address + "/1.0/images/x"
	_, err := s.Find(t.Context(), source.Place{Server: address, Protocol: source.LXD, Certificate: cert, Fingerprint: fingerprint, Secret: "word", Open: true})
	if err == nil || !strings.Contains(err.Error(), "elsewhere") || strings.Contains(err.Error(), "word") {
		t.Errorf("%v", err)
	}
}

func TestDirect(t *testing.T) {
	header := http.Header{"Lxd-Image-Hash": {fingerprint}, "Lxd-Image-Url": {"/file/x.tar.gz"}}
	length := ""
	address, cert := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			if r.Header.Get("LXD-Server-Architectures") != "x86_64, i686" || r.Header.Get("LXD-Server-Version") == "" {
				t.Errorf("%v", r.Header)
			}
			for k, v := range header {
				w.Header()[k] = v
			}
			return
		}
		if length != "" {
			w.Header().Set("Content-Length", length)
		}
		_, _ = io.WriteString(w, "body of "+r.URL.Path)
	})
	s := source.Sources{Architectures: "x86_64, i686"}
	p := source.Place{Server: address + "/dir/image", Protocol: source.Direct, Certificate: cert, Open: true}
	f, err := s.Find(t.Context(), p)
	if err != nil || f.Info.Fingerprint != fingerprint {
		t.Fatalf("%+v %v", f.Info, err)
	}
	if got, err := take(t, f); err != nil || got != "metadata=body of /file/x.tar.gz" {
		t.Errorf("%q %v", got, err)
	}
	length = "1000" // and the answer ends before
	if _, err := take(t, f); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	header = http.Header{}
	if _, err := s.Find(t.Context(), p); !errs.Is(err, errs.Invalid) {
		t.Errorf("no headers: %v", err)
	}
}

// TestSilentServer has a server that takes the connection and says nothing: the caller can give up at any time.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	var s source.Sources
	for _, protocol := range []string{source.LXD, source.Simplestreams, source.Direct} {
		if _, err := s.Find(ctx, source.Place{Server: "https://" + l.Addr().String(), Protocol: protocol, Alias: "x", Open: true}); err == nil || ctx.Err() == nil {
			t.Errorf("%s: %v", protocol, err)
		}
	}
}

func TestAnotherCertificate(t *testing.T) {
	address, _ := serve(t, peer(false))
	var s source.Sources
	if _, err := s.Find(t.Context(), source.Place{Server: address, Protocol: source.LXD, Alias: "x", Open: true}); !errs.Is(err, errs.Unavailable) {
		t.Errorf("a server that no authority vouches for: %v", err)
	}
	if _, err := s.Find(t.Context(), source.Place{Server: address, Protocol: source.LXD, Alias: "x", Open: true, Certificate: "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"}); !errs.Is(err, errs.Invalid) {
		t.Errorf("a certificate that is none: %v", err)
	}
}

// TestProxy has requests go by a proxy.
func TestProxy(t *testing.T) {
	address, cert := serve(t, peer(false))
	var connects atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connects.Add(1)
		if r.Method != http.MethodConnect || r.Host != "images.invalid:443" {
			t.Errorf("%s %s", r.Method, r.Host)
		}
		there, err := net.Dial("tcp", strings.TrimPrefix(address, "https://"))
		if err != nil {
			t.Error(err)
			return
		}
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(there, here); _ = there.Close() }()
		_, _ = io.Copy(here, there)
		_ = here.Close()
	}))
	t.Cleanup(proxy.Close)
	s := source.Sources{Proxy: func(*url.URL) (*url.URL, error) { return url.Parse(proxy.URL) }}
	// the caller is no administrator, and the proxy in the server's own network: that is where the administrator put it
	f, err := s.Find(t.Context(), source.Place{Server: "https://images.invalid", Protocol: source.LXD, Certificate: cert, Alias: "a/b", Secret: "word", Project: "p"})
	if err != nil || f.Info.Fingerprint != fingerprint || connects.Load() == 0 {
		t.Errorf("%+v %v, %d connections", f.Info, err, connects.Load())
	}
}
