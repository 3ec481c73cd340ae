package main

import (
	"context"
	"io"

	"github.com/alecthomas/kong"
)

// globals are the flags every command takes.
type globals struct {
	Config    string            `help:"YAML file of settings; config.example.yaml lists them." placeholder:"FILE" env:"MARQUEE_CONFIG"`
	DataDir   string            `help:"Folder of the embedded engines." placeholder:"DIR"`
	Broker    string            `help:"embedded:[DIR] or kafka://[user:pass@]host[,host]." placeholder:"URL"`
	Warehouse string            `help:"embedded:[DIR] or clickhouse://[user:pass@]host[,host]/database." placeholder:"URL"`
	Lake      string            `help:"file:///DIR, s3://BUCKET or gs://BUCKET." placeholder:"URL"`
	Models    string            `help:"file:///DIR, s3://BUCKET or gs://BUCKET." placeholder:"URL"`
	Database  string            `help:"sqlite:[FILE] or postgres://user:pass@host/database." placeholder:"URL"`
	LogLevel  string            `help:"debug, info, warn or error." placeholder:"LEVEL"`
	Set       map[string]string `help:"Any other setting: --set ingest.flush_interval=2s." placeholder:"KEY=VALUE" mapsep:"none"`
}

// overrides are the settings the flags carry.
func (g *globals) overrides() map[string]string {
	out := map[string]string{}
	for key, value := range g.Set {
		out[key] = value
	}
	for key, value := range map[string]string{
		"data_dir":            g.DataDir,
		"broker.url":          g.Broker,
		"warehouse.url":       g.Warehouse,
		"lake.url":            g.Lake,
		"models.url":          g.Models,
		"database.url":        g.Database,
		"telemetry.log_level": g.LogLevel,
	} {
		if value != "" {
			out[key] = value
		}
	}
	return out
}

// cli is the grammar of the command line.
type cli struct {
	globals

	Demo      demoCommand       `cmd:"" help:"Everything embedded: simulated catalogue and viewers, ingest, train, serve."`
	Simulate  simulateCommand   `cmd:"" help:"Viewers with known tastes, in front of a running service or into a log."`
	Serve     serveCommand      `cmd:"" help:"Run the service."`
	Nightly   nightlyCommand    `cmd:"" help:"Features, train, evaluate, gate, publish: once, resumable, one at a time."`
	Import    importCommands    `cmd:"" help:"Bring data in."`
	Eval      evalCommands      `cmd:"" help:"Measure models offline."`
	Features  featuresCommands  `cmd:"" help:"Build and look at feature sets."`
	Train     trainCommands     `cmd:"" help:"Train one model and publish it as a release without promoting it."`
	Models    modelsCommands    `cmd:"" help:"Look at, promote and roll back releases."`
	Ann       annCommands       `cmd:"" help:"Look at, check and time the search indexes of releases."`
	Events    eventsCommands    `cmd:"" help:"Look at what was ingested."`
	Profiles  profilesCommands  `cmd:"" help:"Show, erase or export what is held about a profile."`
	House     warehouseCommands `cmd:"" name:"warehouse" help:"Restore the warehouse from the lake, or say what it holds."`
	Files     lakeCommands      `cmd:"" name:"lake" help:"Look after the lake's events."`
	Served    servedCommand     `cmd:"" help:"What was served, with the chance of each place, and what became of it, as JSON lines."`
	Recommend recommendCommand  `cmd:"" help:"What a profile should watch next."`
	Home      homeCommand       `cmd:"" help:"A profile's home page."`
	Similar   similarCommand    `cmd:"" help:"The titles nearest to one title."`
	Why       whyCommand        `cmd:"" help:"Why a title is in a profile's recommendations, or what removed it."`
	Tokens    tokensCommands    `cmd:"" help:"Service tokens: who may call."`
	Conf      configCommands    `cmd:"" name:"config" help:"Check the settings."`
	Version   kong.VersionFlag  `help:"Print the version."`
}

// console is what a command is run with.
type console struct {
	ctx            context.Context
	stdout, stderr io.Writer
	globals        *globals
	command        string
}
