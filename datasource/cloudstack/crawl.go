package cloudstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource"
)

// Paths on the VR; a key's value is below the index.
const (
	indexPath    = "/latest/meta-data/"
	userDataPath = "/latest/user-data"
)

const (
	maxKeys = 256
	maxKey  = 128 // bytes of a key's name; CloudStack's longest is 18
)

// standard are the keys that every VR serves. They are asked for only where
// the index hides them: a VR leaves a key out of its index whose name is part
// of an earlier line, such as one that a user chose.
var standard = []string{
	"availability-zone", "cloud-domain", "cloud-domain-id", "cloud-identifier", "cloud-name", "hypervisor-host-name",
	"instance-id", "local-hostname", "local-ipv4", "public-hostname", "public-ipv4", "public-keys", "service-offering", "vm-id",
}

// head are the two requests that are sent along with a candidate's first
// question, since a round trip saved is a round trip saved at each boot.
type head struct {
	cancel          context.CancelFunc
	index, userData <-chan reply
}

type reply struct {
	body []byte
	err  error
}

// begin asks for index and user-data. The answers of a candidate that turns out
// to be none are not waited for.
func (c *client) begin(ctx context.Context, server netip.Addr) *head {
	ctx, cancel := context.WithCancel(ctx)
	get := func(path string, limit int64, timeout time.Duration) <-chan reply {
		answers := make(chan reply, 1)
		go func() {
			body, err := c.get(ctx, server, path, limit, timeout)
			answers <- reply{body, err}
		}()
		return answers
	}
	return &head{
		cancel:   cancel,
		index:    get(indexPath, maxIndex, leafTimeout),
		userData: get(userDataPath, maxUserData, dataTimeout),
	}
}

// crawl fetches all that a VR has for this VM: the values of the index's keys
// over at most four connections, while the user-data is under way. A value that
// is missing (404), refused (another 4xx) or breaks a limit is left out; any
// other failure fails the whole, so that an instance is complete or not there at
// all.
func crawl(ctx context.Context, c *client, server netip.Addr, id string, h *head) (*datasource.Instance, error) {
	defer h.cancel()
	inst := &datasource.Instance{ID: id, Metadata: map[string]string{"instance-id": id}}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		data := <-h.userData
		if errors.Is(data.err, errNotFound) || data.err == nil && len(data.body) == 0 {
			// It was asked for when the VR may not have had the instance yet.
			data.body, data.err = c.get(ctx, server, userDataPath, maxUserData, dataTimeout)
		}
		if data.err != nil && !errors.Is(data.err, errNotFound) {
			return fmt.Errorf("user-data: %w", data.err)
		}
		inst.UserData = data.body
		return nil
	})
	all.Go(func() error {
		index := <-h.index
		if errors.Is(index.err, errNotFound) || index.err == nil && !bytes.Contains(index.body, []byte("instance-id")) {
			index.body, index.err = c.get(ctx, server, indexPath, maxIndex, leafTimeout) // likewise
		}
		if errors.Is(index.err, errNotFound) {
			return fmt.Errorf("%w: the index does not exist yet", datasource.ErrNotReady)
		}
		if index.err != nil {
			return fmt.Errorf("index: %w", index.err)
		}
		keys, warnings := parseIndex(index.body)
		if len(keys) == 0 {
			return fmt.Errorf("%w: the index is empty", datasource.ErrNotReady)
		}
		if !bytes.Contains(index.body, []byte("instance-id")) { // each VR's has it, if only in another key's name
			return fmt.Errorf("%w: the index is not complete", datasource.ErrNotReady)
		}
		inst.Warnings = warnings
		return leaves(ctx, c, server, keys, inst)
	})
	context.AfterFunc(ctx, h.cancel) // one that failed ends the others
	if err := all.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(inst.Warnings)
	return inst, nil
}

func leaves(ctx context.Context, c *client, server netip.Addr, keys []string, inst *datasource.Instance) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxConnections)
	for _, key := range keys {
		if key == "instance-id" { // the search has it
			continue
		}
		group.Go(func() error {
			value, err := c.get(ctx, server, indexPath+key, maxLeaf, leafTimeout)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, errNotFound): // set once and emptied later: the index is stale
				return nil
			case errors.Is(err, datasource.ErrRefused):
				inst.Warnings = append(inst.Warnings, fmt.Sprintf("key %q is left out: %v", key, err))
				return nil
			case err != nil:
				return fmt.Errorf("key %q: %w", key, err)
			}
			text, whole := leaf(value)
			if !whole {
				inst.Warnings = append(inst.Warnings, fmt.Sprintf("key %q is not UTF-8: the bytes that are not are replaced", key))
			}
			inst.Metadata[key] = text
			return nil
		})
	}
	return group.Wait()
}

// leaf reads a value: text, and whether it is all there. YAML has no other.
func leaf(value []byte) (text string, whole bool) {
	return strings.ToValidUTF8(string(value), "\uFFFD"), utf8.Valid(value)
}

// parseIndex reads the index: a key a line. What is not a plain name would
// become part of a path on the VR, and is refused; the rest still counts.
func parseIndex(index []byte) (keys, warnings []string) {
	refused := 0
lines:
	for line := range strings.Lines(string(index)) {
		key := strings.TrimSuffix(line, "\n")
		switch {
		case key == "" || slices.Contains(keys, key):
		case !plainName(key):
			if refused++; refused <= 8 {
				warnings = append(warnings, fmt.Sprintf("key %.40q is left out: not a plain name", key))
			}
		case len(keys) == maxKeys:
			warnings = append(warnings, fmt.Sprintf("keys after the first %d are left out", maxKeys))
			break lines
		default:
			keys = append(keys, key)
		}
	}
	if refused > 8 {
		warnings = append(warnings, fmt.Sprintf("%d more keys are left out: not plain names", refused-8))
	}
	for _, key := range standard {
		if !slices.Contains(keys, key) && strings.Contains(string(index), key) {
			keys = append(keys, key)
		}
	}
	return keys, warnings
}

func plainName(key string) bool {
	return len(key) <= maxKey && key != "." && key != ".." && utf8.ValidString(key) &&
		!strings.ContainsFunc(key, func(r rune) bool { return r == '/' || unicode.IsControl(r) })
}
