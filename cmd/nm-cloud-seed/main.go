// Command nm-cloud-seed seeds cloud-init from CloudStack's virtual router over
// a network that NetworkManager runs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitFailed  = 1 // it was tried and failed
	exitUsage   = 2 // the command line or the configuration is wrong
	exitRunning = 3 // status: the run is still under way
	exitUnknown = 4 // status: there was no run since the system started
)

// exit is an error with an exit status of its own.
type exit struct {
	code int
	err  error // nil: all has been said
}

func (e exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exit) Unwrap() error { return e.err }

func main() {
	// net/http tells the standard logger what it did not understand, word for
	// word; it could be user-data.
	log.SetOutput(io.Discard)
	if filepath.Base(os.Args[0]) == generatorName {
		generator(os.Args[1:], openKmsg())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var e exit
	if !errors.As(err, &e) {
		e = exit{exitUsage, err} // cobra's own: unknown command, flag or argument
	}
	if e.err != nil {
		for line := range strings.SplitSeq("nm-cloud-seed: "+e.err.Error(), "\n") {
			fmt.Fprintln(stderr, cleanText(line))
		}
		if e.code == exitUsage {
			fmt.Fprintln(stderr, "Try 'nm-cloud-seed --help'.")
		}
	}
	return e.code
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "nm-cloud-seed",
		Short: "Seed cloud-init from CloudStack's virtual router over NetworkManager",
		Long: `nm-cloud-seed makes cloud-init's CloudStack datasource work on images whose
network is run by NetworkManager. Early in boot it gets a lease through
NetworkManager, finds CloudStack's virtual router in it, fetches the instance
metadata and lays it in cloud-init's seed directory.

Exit status: 0 done, 1 failed, 2 wrong usage or configuration; some commands have
3 (still under way) and 4 (has not run since the system started).`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true // the packages have its scripts
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.AddCommand(runCommand(), healCommand(), fetchCommand(), refreshCommand(), statusCommand(), plotCommand(), keepCommand(), doctorCommand(), versionCommand(), busCommand(), dispatchCommand(), noSearchCommand(), noteShadowCommand(), fallbackCommand(), placeLeaseCommand(), cleanupCommand(), forgetLeasesCommand(), hostnameCommand(), sshKeysCommand())
	return root
}
