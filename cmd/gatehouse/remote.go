package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// remote is how to reach a running Gatehouse.
type remote struct {
	url, adminKey, adminKeyFile, caFile string
}

func (r *remote) register(flags *pflag.FlagSet) {
	flags.StringVar(&r.url, "url", "", "where Gatehouse is (GATEHOUSE_URL; default http://127.0.0.1:4180)")
	flags.StringVar(&r.adminKey, "admin-key", "", "admin key (GATEHOUSE_ADMIN_KEY is better: arguments are visible to other users)")
	flags.StringVar(&r.adminKeyFile, "admin-key-file", "", "file that holds the admin key")
	flags.StringVar(&r.caFile, "ca-file", "", "PEM file of a certificate authority to trust (GATEHOUSE_CA_FILE)")
}

// remoteCommands are the commands that talk to a running Gatehouse.
func (c *cli) remoteCommands() []*cobra.Command { return nil }

func (r *remote) explain(err error) error { return err }

// secret prints a secret alone on its line, and says beside it that this was the only time.
func (c *cli) secret(what, value string) {
	c.out.printf("%s\n", value)
	c.out.note("This %s is shown once and is not stored: keep it in a safe place now.", what)
}
