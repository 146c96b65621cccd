package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/internal/server"
)

// pepper is the rotation of what keys are digested under.
func (c *cli) pepper() *cobra.Command {
	return c.group("pepper", "Rotate what keys are digested under",
		"Rotates the pepper, under which keys are digested, without any key being refused:\n\n"+
			"  gatehouse pepper rotate --config FILE     adds a version to the pepper file\n"+
			"  gatehouse pepper status --config FILE     how many keys are under which version, and what nodes know\n"+
			"  gatehouse pepper retire 1 --config FILE   takes a version out once no active key is under it\n\n"+
			"Running nodes take a new version in within 10 seconds, or at once on SIGHUP. Once all of them know it, new\n"+
			"keys are made under it, and each older key moves to it when it is used. docs/keys.md has the whole story.",
		c.pepperRotate(), c.pepperStatus(), c.pepperRetire())
}

func (c *cli) pepperRotate() *cobra.Command {
	var config string
	cmd := c.command("rotate --config FILE", "Add a version to the pepper file", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		cfg, err := readConfig(config)
		if err != nil {
			return err
		}
		version, err := server.RotatePepper(ctx, cfg)
		if err != nil {
			return err
		}
		if c.json {
			return c.document(map[string]int{"version": version})
		}
		c.out.printf("version %d added\n", version)
		c.out.note("Back the file up, and put it on every other node. `gatehouse pepper status --config %s` shows how far the nodes are.", shellQuote(config))
		return nil
	})
	return required(cmd, &config, "config", "configuration file")
}

func (c *cli) pepperStatus() *cobra.Command {
	var config string
	cmd := c.command("status --config FILE", "Show how many keys are under which version", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		cfg, err := readConfig(config)
		if err != nil {
			return err
		}
		r, err := server.PepperStatus(ctx, cfg)
		if err != nil {
			return err
		}
		if c.json {
			return c.document(r)
		}
		rows := [][]string{}
		for _, v := range r.Versions {
			file := "yes"
			if !v.InFile {
				file = "no"
			}
			rows = append(rows, []string{strconv.Itoa(v.Version), file, strconv.FormatInt(v.Active, 10), strconv.FormatInt(v.Unused, 10), strconv.FormatInt(v.Inactive, 10), moment(v.LastUsed)})
		}
		c.out.table([]string{"version", "in file", "active keys", "unused 30 days", "inactive", "last used"}, rows)
		if len(r.Nodes) > 0 {
			rows = nil
			for _, n := range r.Nodes {
				rows = append(rows, []string{n.ID, strconv.Itoa(n.Knows)})
			}
			c.out.printf("\n")
			c.out.table([]string{"node", "knows"}, rows)
		}
		if len(r.Remaining) > 0 {
			rows = nil
			for _, k := range r.Remaining {
				rows = append(rows, []string{k.ID, strconv.Itoa(k.Version), k.Project, k.Name, moment(k.LastUsed)})
			}
			c.out.printf("\n")
			c.out.table([]string{"key under an old version", "version", "project", "name", "last used"}, rows)
		}
		return nil
	})
	return required(cmd, &config, "config", "configuration file")
}

func (c *cli) pepperRetire() *cobra.Command {
	var config, days string
	cmd := c.command("retire VERSION --config FILE [flags]", "Take a version out of the pepper file", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		version, err := strconv.Atoi(strings.TrimPrefix(args[0], "v"))
		if err != nil || version < 1 {
			return usagef("%q is not a version: give its number, as in `gatehouse pepper retire 1`", args[0])
		}
		var unused time.Duration
		if days != "" {
			n, err := strconv.ParseUint(strings.TrimSuffix(days, "d"), 10, 16)
			if err != nil || n == 0 {
				return usagef("--suspend-unused takes a number of days, such as 90")
			}
			unused = time.Duration(n) * day
		}
		cfg, err := readConfig(config)
		if err != nil {
			return err
		}
		suspended, err := server.RetirePepper(ctx, cfg, version, unused)
		if suspended > 0 {
			c.out.note("%d keys suspended", suspended)
		}
		if err != nil {
			return err
		}
		if c.json {
			return c.document(map[string]int{"retired": version, "suspended": suspended})
		}
		c.out.printf("version %d retired\n", version)
		c.out.note("Put the file on every other node too. Keep a copy of the old one for as long as you may restore a backup of the database from before.")
		return nil
	})
	cmd.Flags().StringVar(&days, "suspend-unused", "", "first suspend active keys under it that were not used for so many days")
	return required(cmd, &config, "config", "configuration file")
}
