package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/nm-cloud-seed/nm-cloud-seed/test/boot/qemu"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/debroot"
	"github.com/nm-cloud-seed/nm-cloud-seed/test/lab"
)

// result is a judged boot.
type result struct {
	scenario, boot string
	report         *report
	wrong          []error
	dir            string // what it left
}

// outcomeOf is a scenario that was done: its boots, and the time that it took.
type outcomeOf struct {
	boots []result
	took  time.Duration
}

// runAll does the scenarios and says what comes of them.
func runAll(ctx context.Context, chosen []scenario, o options) error {
	if os.Geteuid() != 0 {
		return errors.New("cannot boot systems as an ordinary user: this takes root")
	}
	if i := slices.IndexFunc(chosen, func(s scenario) bool { return !s.bare }); i >= 0 && o.pkg == "" {
		return fmt.Errorf("cannot do %s without a package to test", chosen[i].name)
	}
	artifacts, err := makeArtifacts(o.artifacts)
	if err != nil {
		return err
	}
	roots, err := makeRoots(ctx, chosen)
	if err != nil {
		return err
	}
	r := measureRoom()
	if o.parallel > 0 {
		r = room{int64(o.parallel), "-parallel"}
	}
	fmt.Printf("%d scenarios, %d containers side by side or a virtual machine instead of %d of them: limited by %s\n%s\n",
		len(chosen), r.containers, r.weight(scenario{virtual: &qemu.Machine{}}), r.limitedBy, load())
	var mu sync.Mutex
	all := make([]outcomeOf, len(chosen))
	group, ctx := errgroup.WithContext(ctx)
	free := semaphore.NewWeighted(r.containers)
	began, done := time.Now(), 0
	for _, i := range longestFirst(chosen) {
		s := chosen[i]
		if free.Acquire(ctx, r.weight(s)) != nil {
			group.Go(func() error { return context.Cause(ctx) })
			break
		}
		group.Go(func() error {
			defer free.Release(r.weight(s))
			began := time.Now()
			boots := runOne(ctx, s, roots[s.root().String()], filepath.Join(artifacts, s.name), o.pkg)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			mu.Lock()
			defer mu.Unlock()
			all[i] = outcomeOf{boots, time.Since(began)}
			done++
			fmt.Printf("[%*d/%d] %-28s %6.1f s  %s\n", len(fmt.Sprint(len(chosen))), done, len(chosen),
				s.name, time.Since(began).Seconds(), verdictWord(boots))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("%w (what the boots left is in %s)", err, artifacts)
	}
	return finish(os.Stdout, all, time.Since(began), artifacts, o)
}

// longestFirst returns the indices of the scenarios, those first that take longest
// by the number and kind of their boots: what comes last should be short.
func longestFirst(all []scenario) []int {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	const virtualBoot, containerBoot = 5, 1 // how an emulated boot compares
	length := func(i int) int {
		if all[i].virtual != nil {
			return len(all[i].boots) * virtualBoot
		}
		return len(all[i].boots) * containerBoot
	}
	slices.SortStableFunc(order, func(a, b int) int { return length(b) - length(a) })
	return order
}

// makeRoots builds the roots of the scenarios that are missing, and returns the
// directory of each scenario's root by the root's name.
func makeRoots(ctx context.Context, chosen []scenario) (map[string]string, error) {
	var needed []debroot.Root
	for _, s := range chosen {
		needed = append(needed, s.root())
	}
	if err := debroot.Prepare(ctx, os.Stdout, needed...); err != nil {
		return nil, err
	}
	dirs := make(map[string]string)
	for _, r := range needed {
		dir, err := r.Open()
		if err != nil {
			return nil, err
		}
		dirs[r.String()] = dir
	}
	return dirs, nil
}

// root returns the root that a scenario boots.
func (s scenario) root() debroot.Root { return debroot.Image(s.suite, s.packages...) }

// runOne does a scenario in a lab, and judges its boots.
func runOne(ctx context.Context, s scenario, root, dir, pkg string) []result {
	var said bytes.Buffer
	err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755))
	if err == nil {
		err = lab.Enter(ctx, []string{s.name, root, dir, pkg}, nil, &said, &said)
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
		return []result{{scenario: s.name, boot: "not done", report: readReport(os.DirFS(dir), nil), wrong: []error{err}, dir: dir}}
	}
	var results []result
	var before *report
	for n, b := range s.boots {
		r := result{scenario: s.name, boot: b.what, dir: filepath.Join(dir, bootDir(n, b))}
		r.report = readReport(os.DirFS(r.dir), before)
		if !r.report.outcome.Cut {
			before = r.report
		}
		r.wrong = judge(r.report, b.checks)
		if n == 0 {
			if err := examined(dir, s.doctor); err != nil {
				r.wrong = append(r.wrong, err)
			}
		}
		results = append(results, r)
	}
	return results
}

func makeArtifacts(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "nm-cloud-seed-boot-")
	}
	dir, err := filepath.Abs(dir)
	return dir, errors.Join(err, os.MkdirAll(dir, 0o755))
}

func verdictWord(boots []result) string {
	for _, r := range boots {
		if len(r.wrong) > 0 {
			return "FAILED"
		}
	}
	return "ok"
}
