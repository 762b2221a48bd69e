package harness

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"lxd/test/issuer"
)

// Params runs the scripts below dir. start brings up the daemon of one script and sets LXD_DIR in its environment. kind is "fake" or
// "real": the conditions [fake] and [real] of the scripts; [root] tells who runs them.
//
// Besides testscript's own, the scripts have these commands:
//
//	http [-n] [-r] [-o FILE] [-tls ADDRESS [-as DIR] [-named NAME FILE]] METHOD PATH [BODY] [HEADER:VALUE …]
//	                          sends a request to the daemon's socket; standard output is the status, headers of interest and
//	                          the body. BODY may be @FILE. "! http" expects a failure. An operation is waited for, unless -n.
//	                          -r repeats it for up to 10 s until it goes as expected.
//	                          -o writes the body to a file instead. -tls sends it over the network to ADDRESS, with the
//	                          certificate client.crt in DIR or with none. -named asks for a server of that name, whose certificate
//	                          must be vouched for by the authority in FILE.
//	net COMMAND …             runs a program as exec does, where the daemon's network is.
//	port VARIABLE             finds a port that is free there.
//	json PATH [WANT]          looks into the JSON that the last command printed. Names and numbers in PATH are separated by
//	                          slashes, ~1 is a slash within a name, _count the number of entries. WANT is a string, JSON, or
//	                          ~REGEXP. "! json PATH" says that there is no such thing, "! json PATH WANT" that it is another.
//	grab VARIABLE REGEXP      keeps what the first group of REGEXP found in what the last command printed.
//	listen [-tls ADDRESS -as DIR] NAME PATH
//	                          opens a websocket at PATH, such as /1.0/events?type=lifecycle. When the server closes it, "the end: …" is
//	                          heard.
//	say NAME TEXT             sends a line to it.
//	heard NAME REGEXP         waits until what came through it matches; "! heard" says that none of those read so far does.
//	                          Lifecycle events have to be of the published form.
//	loki VARIABLE NAME [USER:PASSWORD]
//	                          starts a stand-in for a Loki server where the daemon's network is, and keeps its address. What is sent
//	                          to it is heard as the stream NAME: {LABEL="VALUE",…} LINE; what breaks the protocol as "broken: …".
//	syslog TEXT               sends a message to the daemon's syslog socket; "! syslog" expects that it cannot.
//	tree DIR NAME=VALUE … META [ROOT] [-- …]
//	                          makes DIR the files of an image server with those images; see scripts/streams.
//	mirror VARIABLE DIR       offers DIR over https where the daemon's network is, with a certificate that the programs of the
//	                          script trust, and keeps the address.
//	issuer VARIABLE [bare]    starts an OpenID Connect provider where the daemon's network is, whose client is "lxd" with the secret
//	                          "hush", and keeps its address. A bare one has to be asked for what its tokens leave out.
//	person ISSUER [EMAIL [NAME [GROUP …]]]
//	                          says who is signed in there; nobody is at first.
//	broken ISSUER             has it answer nothing but errors; "! broken" ends that.
//	image FILE [KEY=VALUE]    writes a small image that is good enough for the fake machines, with properties. KEY may be
//	                          architecture or expiry_date too.
//	restart [NAME=FILE …]     ends the daemon, puts copies of files of the script into its state folder under those names (an empty
//	                          FILE removes one), and starts it again. "! restart" says that it does not start: standard error has why.
//	authority NAME ca FILE    keeps the certificate of a certificate authority, which is made when it is first named. Likewise
//	                          "revoked FILE" keeps its signed list of revoked certificates, "revoke CERTIFICATE" puts one on that
//	                          list, and "sign CERTIFICATE KEY [LIFE]" makes a certificate for a client or a server on 127.0.0.1.
//	acme VARIABLE ADDRESS FILE
//	                          starts an ACME service for which every domain is at ADDRESS, where a proxy leads to the daemon; keeps the
//	                          address of its directory, and the certificate of the authority in FILE.
//	retry COMMAND …           repeats a command until it succeeds, 10 s at most.
func Params(kind, dir string, start func(env *testscript.Env) error) testscript.Params {
	return testscript.Params{
		Dir:                dir,
		Setup:              func(env *testscript.Env) error { return setUp(env, start) },
		RequireUniqueNames: true,
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			if name != "fake" && name != "real" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return name == kind, nil
		},
		RequireExplicitExec: true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"restart": restart, "acme": acmeAuthority, "authority": signing, "net": runIn, "port": port, "loki": lokiServer, "syslog": logTo, "tree": streamsTree, "mirror": mirror,
			"issuer": startIssuer, "person": signIn, "broken": breakIssuer,
			"http": sendHTTP, "image": writeImage, "retry": retry, "json": checkJSON, "grab": grab, "listen": listen, "say": say, "heard": heard,
		},
	}
}

// setUp has the programs of a script trust the image servers of it, and starts its daemon.
func setUp(env *testscript.Env, start func(*testscript.Env) error) error {
	path, err := Trust(env.WorkDir)
	if err != nil {
		return err
	}
	env.Setenv("SSL_CERT_FILE", path)
	env.Values[issuersKey{}] = map[string]*issuer.Issuer{}
	env.Values[authoritiesKey{}] = authorities{}
	return start(env)
}

func writeImage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: image FILE [KEY=VALUE …]")
	}
	top := map[string]string{"architecture": "x86_64", "expiry_date": "0"}
	properties := map[string]string{"os": "Test"}
	for _, a := range args[1:] {
		k, v, _ := strings.Cut(a, "=")
		if k == "expiry_date" || k == "architecture" {
			top[k] = v
			continue
		}
		properties[k] = v
	}
	metadata := fmt.Sprintf("architecture: %s\ncreation_date: 1700000000\nexpiry_date: %s\nproperties:\n", top["architecture"], top["expiry_date"])
	for _, k := range slices.Sorted(maps.Keys(properties)) {
		metadata += fmt.Sprintf("  %s: %q\n", k, properties[k])
	}
	b, err := Tarball([]Entry{
		{Name: "metadata.yaml", Body: metadata},
		{Name: "rootfs/", Type: '5', Mode: 0o755},
		{Name: "rootfs/etc/", Type: '5', Mode: 0o755},
		{Name: "rootfs/etc/hostname", Body: "test\n"},
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

func retry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: retry COMMAND …")
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s never succeeded: %v", strings.Join(args, " "), err)
		}
	}
}
