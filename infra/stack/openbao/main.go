// Package main is the OpenBao command, built from hash-pinned modules for the local stack.
package main

import (
	"os"

	"github.com/openbao/openbao/command"
)

func main() { os.Exit(command.Run(os.Args[1:])) }
