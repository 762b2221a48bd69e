// Command testsum reads the output of `go test -json` and says what came of it.
//
// Usage: go test -json ./... | go run ./scripts/testsum
//
// It prints a line a package while it reads, the output of what failed, the reason of every skip, and at last the totals:
// "N passed, N failed, N skipped". It fails if anything failed, or if no test ran.
package main

import (
	"fmt"
	"os"
)

func main() {
	s := newSummary(os.Stdout)
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	if !s.finish() {
		os.Exit(1)
	}
}
