// Command gatehouse is the whole of Gatehouse: the development server, the production node and the command line that administers
// them. dev, init and serve run on the host; every other command talks to a running Gatehouse through package client.
//
// It owns flags, exit codes and what people read on a terminal. Every decision is made elsewhere: on the host by server, behind
// the API by admin.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends ctx, and with it the command in good order. From then on signals do what they do by default, so a
	// second Ctrl-C ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}
