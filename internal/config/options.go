package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Option is one key of the configuration, as documentation needs it.
type Option struct {
	Section string
	Key     string
	Values  string // what it can be, for a person
	Default string
	Doc     string // one line

	set func(c *Config, value string) error
}

// Limits of deadline, in seconds.
const (
	minDeadline = 10
	maxDeadline = 3600
)

// Options is every key there is, sorted by section and key.
func Options() []Option {
	return []Option{{
		Section: "main", Key: "check-instance-id", Default: "yes",
		Values: "yes or no",
		Doc:    "whether on KVM the data of an instance that is not this machine is refused",
		set:    func(c *Config, value string) error { return yesNo(&c.CheckID, value) },
	}, {
		Section: "main", Key: "deadline", Default: "120",
		Values: fmt.Sprintf("whole seconds from %d to %d", minDeadline, maxDeadline),
		Doc:    "how long to look for the virtual router before boot goes on without metadata",
		set:    setDeadline,
	}, {
		Section: "main", Key: "heal", Default: "yes",
		Values: "yes or no",
		Doc:    "whether a VM whose first boot found no virtual router is set up without a reboot, once one answers",
		set:    func(c *Config, value string) error { return yesNo(&c.Heal, value) },
	}, {
		Section: "main", Key: "log-level", Default: string(LogInfo),
		Values: "error, warning, info or debug",
		Doc:    "the least important messages that are logged",
		set: func(c *Config, value string) error {
			return oneOf(&c.LogLevel, value, LogError, LogWarning, LogInfo, LogDebug)
		},
	}, {
		Section: "main", Key: "ordering", Default: string(OrderingLate),
		Values: "late, early or off",
		Doc:    "what moves in the boot order: cloud-init's network stage, or D-Bus and NetworkManager",
		set: func(c *Config, value string) error {
			return oneOf(&c.Ordering, value, OrderingLate, OrderingEarly, OrderingOff)
		},
	}, {
		Section: "main", Key: "password", Default: "yes",
		Values: "yes or no",
		Doc:    "whether the password server is asked for a password, and cloud-init applies it",
		set:    func(c *Config, value string) error { return yesNo(&c.Password, value) },
	}, {
		Section: "main", Key: "platform", Default: string(PlatformAuto),
		Values: "auto, cloudstack or none",
		Doc:    "whether this is a CloudStack VM; auto asks the firmware (DMI) and cloud-init's datasource_list",
		set: func(c *Config, value string) error {
			return oneOf(&c.Platform, value, PlatformAuto, PlatformCloudStack, PlatformNone)
		},
	}, {
		Section: "main", Key: "ssh-keys", Default: "yes",
		Values: "yes or no",
		Doc:    "whether an SSH key that was reset is applied at the next boot, and the one it replaces removed",
		set:    func(c *Config, value string) error { return yesNo(&c.SSHKeys, value) },
	}}
}

// lookup finds an option; without one, the error says what there is instead.
func lookup(section, key string) (Option, error) {
	if section == "" {
		return Option{}, fmt.Errorf("%s stands before the first section (put [main] above it)", brief(key))
	}
	var keys []string
	for _, o := range Options() {
		if o.Section == section && o.Key == key {
			return o, nil
		}
		if o.Section == section {
			keys = append(keys, o.Key)
		}
	}
	return Option{}, fmt.Errorf("unknown key %s in [%s] (known: %s)", brief(key), section, strings.Join(keys, ", "))
}

// checkSection says whether there is such a section.
func checkSection(section string) error {
	var sections []string
	for _, o := range Options() {
		if o.Section == section {
			return nil
		}
		if !slices.Contains(sections, o.Section) {
			sections = append(sections, o.Section)
		}
	}
	return fmt.Errorf("unknown section %s (known: %s)", brief(section), strings.Join(sections, ", "))
}

func (o Option) apply(c *Config, value string) error {
	if err := o.set(c, value); err != nil {
		return fmt.Errorf("bad value %s of %s in [%s] (want %s)", brief(value), o.Key, o.Section, o.Values)
	}
	return nil
}

func setDeadline(c *Config, value string) error {
	n, err := strconv.ParseUint(value, 10, 16) // no sign, no unit
	if err != nil || n < minDeadline || n > maxDeadline {
		return strconv.ErrRange
	}
	c.Deadline = time.Duration(n) * time.Second
	return nil
}

func yesNo(to *bool, value string) error {
	switch value {
	case "yes":
		*to = true
	case "no":
		*to = false
	default:
		return strconv.ErrSyntax
	}
	return nil
}

func oneOf[T ~string](to *T, value string, allowed ...T) error {
	if !slices.Contains(allowed, T(value)) {
		return strconv.ErrSyntax
	}
	*to = T(value)
	return nil
}

// brief quotes what stands in a file, of any length, for an error.
func brief(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}
