// Command leakcheck tells what a run left behind on the host.
//
// Usage:
//
//	leakcheck [-scratch DIR] snapshot FILE
//	leakcheck [-scratch DIR] [-wait 5s] compare FILE
//
// snapshot records mounts, network links and namespaces, cgroups, nft tables, processes of ours, loop devices, and files in the
// scratch folder. compare prints what there is now and was not then, and fails if there is anything. It waits a little for
// things that are about to go.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	scratch := flag.String("scratch", "", "folder in which tests put their files")
	wait := flag.Duration("wait", 5*time.Second, "how long compare waits for things to go")
	flag.Parse()
	h := host{root: "/", scratch: *scratch, nft: nftTables}
	var err error
	switch cmd := flag.Arg(0); {
	case flag.NArg() == 2 && cmd == "snapshot":
		err = snapshot(h, flag.Arg(1))
	case flag.NArg() == 2 && cmd == "compare":
		err = compare(os.Stdout, h, flag.Arg(1), *wait)
	default:
		err = fmt.Errorf("want: leakcheck snapshot FILE, or leakcheck compare FILE")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "leakcheck:", err)
		os.Exit(1)
	}
}

func snapshot(h host, path string) error {
	seen, err := h.look()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(seen, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

func compare(w io.Writer, h host, path string, wait time.Duration) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("no snapshot to compare with: %w", err)
	}
	var before things
	if err := json.Unmarshal(data, &before); err != nil {
		return fmt.Errorf("%s is not a snapshot: %w", path, err)
	}
	for end := time.Now().Add(wait); ; time.Sleep(100 * time.Millisecond) {
		now, err := h.look()
		if err != nil {
			return err
		}
		left := now.minus(before)
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(end) {
			for _, l := range left {
				fmt.Fprintln(w, "left behind:", l)
			}
			return fmt.Errorf("%d things left behind", len(left))
		}
	}
}
