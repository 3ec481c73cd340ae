package main

import (
	"fmt"
	"os"
)

type configCommands struct {
	Check configCheckCommand `cmd:"" help:"Say whether the settings are right, and what would be."`
}

type configCheckCommand struct{}

// Run checks the settings from file, environment and flags.
func (configCheckCommand) Run(c *console) error {
	if _, err := c.load(os.Environ()); err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, "the configuration is right")
	return nil
}
