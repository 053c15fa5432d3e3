package main

import (
	"os"
	"slices"

	"github.com/spf13/cobra"
)

// completeDirectory completes one directory.
func completeDirectory(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(given) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeDevices completes network devices, each once. Which of them have a
// temporary connection is NetworkManager's to say, whom nobody waits for here.
func completeDevices(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return slices.DeleteFunc(devicesIn("/sys/class/net"), func(name string) bool {
		return slices.Contains(given, name)
	}), cobra.ShellCompDirectiveNoFileComp
}

// devicesIn lists the devices of sysfs(5): each is a link, what is none is a
// driver's setting.
func devicesIn(dir string) (names []cobra.Completion) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if name := e.Name(); name != "lo" && e.Type() == os.ModeSymlink {
			names = append(names, name)
		}
	}
	return names
}
