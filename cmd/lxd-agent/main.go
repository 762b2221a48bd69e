// Command lxd-agent will serve a virtual machine from within. Virtual machines are not supported yet, so it only says so.
package main

import (
	"fmt"
	"os"
	"slices"

	"lxd/api"
)

func main() {
	if slices.Contains(os.Args[1:], "--version") {
		fmt.Println(api.Version)
		return
	}
	fmt.Fprintln(os.Stderr, "Error: virtual machines are not supported yet, so there is nothing for the agent to do")
	os.Exit(1)
}
