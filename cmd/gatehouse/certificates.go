package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"os"

	"github.com/spf13/cobra"

	"gatehouse"
	"gatehouse/client"
)

// certificateFile reads the certificate that a command is given: a file in PEM. What is none is not sent: it may be a private key.
func certificateFile(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	switch block, _ := pem.Decode(text); {
	case block == nil:
		return "", usagef("%s is no certificate in PEM", path)
	case block.Type != "CERTIFICATE":
		return "", usagef("%s holds a PEM block of type %q, not a CERTIFICATE. Nothing was sent", path, block.Type)
	}
	return string(text), nil
}

func certificateID(ctx context.Context, cl *client.Client, reference string) (string, error) {
	return resolve("certificate", gatehouse.PrefixCertificate, reference, cl.Certificates(ctx, ""), func(v *client.Certificate) (string, []string) { return v.ID, []string{v.Name, v.Fingerprint} })
}

func (c *cli) certificates() *cobra.Command {
	place := func(cmd *cobra.Command, in *string, what string) *cobra.Command {
		cmd.Flags().StringVar(in, "project", "", what+", by id or name; without it in the whole organization")
		return cmd
	}
	within := func(ctx context.Context, cl *client.Client, reference string) (string, error) {
		if reference == "" {
			return "", nil
		}
		return project(ctx, cl, reference)
	}
	var listIn string
	listing := place(c.call("list [flags]", "List certificates and where they are in force", cobra.NoArgs, func(ctx context.Context, cl *client.Client, _ []string) error {
		id, err := within(ctx, cl, listIn)
		if err != nil {
			return err
		}
		return list(c, cl.Certificates(ctx, id), []string{"ID", "NAME", "ACTIVE", "EXPIRES", "SHA-256"}, func(v *client.Certificate) (json.RawMessage, []string) {
			active := "no"
			if v.Active {
				active = "yes"
			}
			return v.JSON, []string{v.ID, v.Name, active, moment(v.Details.ExpiresAt), v.Fingerprint}
		})
	}), &listIn, "show whether each is in force in this project")
	get := c.call("get CERTIFICATE", "Show a certificate", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := certificateID(ctx, cl, args[0])
		if err != nil {
			return err
		}
		v, err := cl.Certificate(ctx, id)
		if err != nil {
			return err
		}
		return c.answer(v.JSON, func() {
			c.out.fields([][2]string{{"id", v.ID}, {"name", v.Name}, {"valid", moment(v.Details.ValidAt)}, {"expires", moment(v.Details.ExpiresAt)}, {"sha-256", v.Fingerprint}})
			c.out.printf("%s", v.Details.Content)
		})
	})
	var name string
	create := c.call("create FILE [flags]", "Store a certificate (PEM): an authority's, or one client's own. It is in force nowhere yet", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		text, err := certificateFile(args[0])
		if err != nil {
			return err
		}
		v, err := cl.CreateCertificate(ctx, name, text)
		if err != nil {
			return err
		}
		return c.answer(v.JSON, func() {
			c.out.fields([][2]string{{"id", v.ID}, {"name", v.Name}, {"expires", moment(v.Details.ExpiresAt)}, {"sha-256", v.Fingerprint}})
			c.out.note("It is in force nowhere until `gatehouse certificates activate`.")
		})
	})
	create.Flags().StringVar(&name, "name", "", "what to call it")
	remove := c.call("delete CERTIFICATE", "Delete a certificate that is in force nowhere", cobra.ExactArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := certificateID(ctx, cl, args[0])
		if err != nil {
			return err
		}
		d, err := cl.DeleteCertificate(ctx, id)
		if err != nil {
			return err
		}
		return c.deleted(d, "deleted")
	})
	toggle := func(use, short, done, where string, call func(*client.Client, context.Context, string, ...string) (*client.Toggled, error)) *cobra.Command {
		var in string
		return place(c.call(use+" CERTIFICATE... [flags]", short, cobra.MinimumNArgs(1), func(ctx context.Context, cl *client.Client, args []string) error {
			at, err := within(ctx, cl, in)
			if err != nil {
				return err
			}
			ids := make([]string, len(args))
			for i, reference := range args {
				if ids[i], err = certificateID(ctx, cl, reference); err != nil {
					return err
				}
			}
			v, err := call(cl, ctx, at, ids...)
			if err != nil {
				return err
			}
			return c.answer(v.JSON, func() {
				for i := range v.Data {
					c.out.printf("%s %s\n", done, printable(v.Data[i].ID))
				}
				c.effective(v.EffectiveBy)
			})
		}), &in, where)
	}
	activate := toggle("activate", "Demand a client certificate that one of these issued of who calls models", "activated", "demand it of this project's callers", (*client.Client).ActivateCertificates)
	deactivate := toggle("deactivate", "Demand it no more", "deactivated", "demand it no more of this project's callers", (*client.Client).DeactivateCertificates)
	return c.group("certificates", "Client certificates (mutual TLS)", "CERTIFICATE is an id (cert_...), a name or a SHA-256 fingerprint.", listing, get, create, activate, deactivate, remove)
}
