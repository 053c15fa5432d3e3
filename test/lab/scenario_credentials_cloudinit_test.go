//go:build integration

package lab_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/nm-cloud-seed/nm-cloud-seed/datasource/cloudstack/vrtest"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/credentials"
	"github.com/nm-cloud-seed/nm-cloud-seed/internal/daemon"
)

// What cloud-init's cloud.cfg says, as far as it matters. The stage that runs
// set_passwords is another in older versions.
const (
	bookworm = `users: [default]
system_info: {default_user: {name: debian}}
cloud_init_modules: [users-groups, ssh]
cloud_config_modules: [set-passwords, runcmd]
cloud_final_modules: [scripts-user]
`
	sid = `users: [default]
system_info: {default_user: {name: debian}}
cloud_init_modules: [users-groups, ssh, set_passwords]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user]
`
)

const (
	dropInLink = "/etc/cloud/cloud.cfg.d/99-nm-cloud-seed.cfg"
	dropInFile = "/run/nm-cloud-seed/private/cloud.cfg"
	instances  = "/var/lib/cloud/instances"
)

// records are what the service remembers of what modules have applied.
var records = map[string]string{
	"set_passwords": credentials.DefaultDir + "/password.json",
	"ssh":           credentials.DefaultDir + "/ssh-keys.json",
}

// guest is a VM over its boots. Only cloud-init's side of the files is played, so
// that it can fail or be cut off at any moment. A whole boot with the real one is
// in test/boot.
type guest struct {
	*scenario
	vrs      []*vrtest.VR
	lists    [][]string // the modules of each of cloudInitStages
	hash     string     // the default user's, as in the shadow file
	hostKeys bool       // there are some
}

var cloudInitStages = []string{"init", "modules-config", "modules-final"}

// guest installs an image with this cloud.cfg and our package's link.
func (s *scenario) guest(image string) *guest {
	s.Helper()
	s.must(os.MkdirAll(filepath.Dir(dropInLink), 0o755))
	s.must(os.WriteFile("/etc/cloud/cloud.cfg", []byte(image), 0o644))
	s.must(os.Symlink(dropInFile, dropInLink))
	s.must(os.Remove("/etc/shadow")) // a link, to the host's
	s.must(os.WriteFile("/etc/shadow", []byte(noUsers), 0o640))
	var cfg struct {
		Init   []string `yaml:"cloud_init_modules"`
		Config []string `yaml:"cloud_config_modules"`
		Final  []string `yaml:"cloud_final_modules"`
	}
	s.must(yaml.Unmarshal([]byte(image), &cfg))
	return &guest{scenario: s, lists: [][]string{cfg.Init, cfg.Config, cfg.Final}}
}

// boot is what is unusual in a boot.
type boot struct {
	fails  string // the module that fails
	cut    string // when the service is stopped: see below, or a module
	merged string // what cloud-init makes of the user-data; "" is the user-data itself
}

// The service is stopped like that by a shutdown, and as good as that when the
// power fails. After a module: when that has run, and its stage has not ended.
const (
	atReady     = "before cloud-init's network stage begins"
	whenTelling = "when the password server has been told, and has not answered"
)

// booted is what came of a boot.
type booted struct {
	outcome
	ran    string           // cloud-init's modules
	dropIn string           // what was there for cloud-init, when it was told to start
	job    *credentials.Job // for nm-cloud-seed-ssh-keys.service
}

// boot boots the VM. Whatever happens, there is no secret where others see it,
// and nothing of what was handed over is left after a whole boot.
func (g *guest) boot(b boot) *booted {
	g.Helper()
	for _, dir := range []string{daemon.RunDir, "/run/cloud-init"} {
		g.must(os.RemoveAll(dir))
	}
	for _, vr := range g.vrs {
		vr.ResetLog()
	}
	c := &cloudInit{guest: g, boot: b, status: map[string]any{"init-local": stageStatus{Start: 1, Finished: 2}}}
	c.write("")
	r := &booted{}
	g.holding = func() {
		r.dropIn = read(dropInLink)
		g.noSecret("")
		c.run()
		g.eventually("the service is done", func() bool {
			state, err := daemon.ReadState("")
			return b.cut != "" && (b.cut != whenTelling || g.told() > 0) || err == nil && state.Ended != nil
		})
	}
	r.outcome = g.run()
	g.holding = nil
	if r.err != nil || !slices.Contains(r.notified, "READY=1") {
		g.Fatalf("got error %v and the notifications %q, want READY=1", r.err, r.notified)
	}
	g.noSecret(r.log + strings.Join(r.notified, "\n"))
	r.ran = strings.Join(c.ran, " ")
	job, found, err := credentials.ReadJob(daemon.RunDir)
	g.must(err)
	if found {
		r.job = &job
	}
	if b.cut != "" {
		return r
	}
	if left := read(dropInFile); left != "" {
		g.Errorf("got %q after the boot, want nothing of what was handed over", left)
	}
	if found && b.fails != "ssh" { // as nm-cloud-seed-ssh-keys.service does
		g.must(credentials.Store{Dir: credentials.DefaultDir}.RecordKeys(job.Instance, job.Keys, nil))
	}
	return r
}

// cloudInit is cloud-init in one boot.
type cloudInit struct {
	*guest
	boot
	ran    []string
	status map[string]any // v1 of status.json
}

type stageStatus struct {
	Errors   []string `json:"errors"`
	Start    float64  `json:"start"`
	Finished float64  `json:"finished,omitempty"` // null, really
}

// run runs the stages, as far as they come.
func (c *cloudInit) run() {
	if c.cut == atReady {
		return
	}
	var meta struct {
		ID string `json:"instance-id"`
	}
	c.must(json.Unmarshal([]byte(read(daemon.SeedLink+"/meta-data")), &meta))
	dir := filepath.Join(instances, meta.ID)
	c.must(os.MkdirAll(dir+"/sem", 0o755))
	if c.merged == "" {
		c.merged = read(daemon.SeedLink + "/user-data")
	}
	c.must(os.WriteFile(dir+"/cloud-config.txt", []byte(c.merged), 0o600))
	c.status["datasource"] = "DataSourceCloudStack"
	c.must(os.MkdirAll("/var/lib/cloud/data", 0o755))
	c.must(os.WriteFile("/var/lib/cloud/data/instance-id", []byte(meta.ID+"\n"), 0o644))
	for i, modules := range c.lists {
		if c.stage(cloudInitStages[i], modules, dir+"/sem"); c.cut != "" && slices.Contains(c.ran, c.cut) {
			return
		}
	}
	c.must(os.Symlink("../../var/lib/cloud/data/result.json", "/run/cloud-init/result.json"))
}

// stage runs a stage, at whose end only the service may take anything for applied.
func (c *cloudInit) stage(name string, modules []string, semaphores string) {
	status := stageStatus{Start: 3}
	c.status[name] = status
	c.write(name)
	dropIn := read(dropInLink) // each stage is a process
	before := map[string]string{}
	for _, module := range modules {
		module = strings.ReplaceAll(module, "-", "_")
		semaphore := semaphores + "/config_" + module
		if _, err := os.Lstat(semaphore); err == nil {
			continue
		}
		c.must(os.WriteFile(semaphore, []byte("1: 1.0\n"), 0o644))
		c.ran = append(c.ran, module)
		if record := records[module]; record != "" {
			before[record] = read(record)
		}
		if module == c.fails {
			status.Errors = append(status.Errors, "('"+module+"', ProcessExecutionError('it did not work'))")
		} else {
			c.apply(module, dropIn)
		}
	}
	if c.cut != "" && slices.Contains(c.ran, c.cut) {
		return
	}
	if len(before) > 0 {
		time.Sleep(300 * time.Millisecond) // for what should not come
	}
	for record, text := range before {
		if read(record) != text {
			c.Errorf("%s was written before the stage had ended", record)
		}
		if record == records["set_passwords"] && strings.Contains(dropIn, "password:") && c.told() > 0 {
			c.Error("the password server was told before the stage had ended")
		}
	}
	status.Finished = 4
	c.status[name] = status
	c.write("")
}

// apply is what a module does with what it was handed.
func (c *cloudInit) apply(module, dropIn string) {
	var cfg struct {
		Password string
		Chpasswd struct{ Expire *bool }
		SSH      *bool `yaml:"ssh_pwauth"`
		Delete   *bool `yaml:"ssh_deletekeys"`
	}
	decoder := yaml.NewDecoder(strings.NewReader(dropIn))
	decoder.KnownFields(true)
	if err := decoder.Decode(&cfg); !errors.Is(err, io.EOF) {
		c.must(err)
	}
	switch {
	case module == "users_groups":
		users := read("/etc/passwd") // by a link, the host's
		c.must(os.Remove("/etc/passwd"))
		c.must(os.WriteFile("/etc/passwd", []byte(users+"debian:x:1000:1000::/home/debian:/bin/sh\n"), 0o644))
		c.sets("!")
	case module == "set_passwords" && strings.Contains(c.merged, "password"):
		c.sets("$6$theirs$theirs") // not ours
		c.hash = ""
	case module == "set_passwords" && cfg.Password != "":
		c.hash = cfg.Password
		c.sets(c.hash)
		if cfg.Chpasswd.Expire == nil || *cfg.Chpasswd.Expire {
			c.Error("the password has to be changed at the first login")
		}
	case module == "ssh":
		if c.hostKeys && (cfg.Delete == nil || *cfg.Delete) {
			c.Error("the host keys are made anew")
		}
		c.hostKeys = true
	}
}

// noUsers is a shadow file in which nobody has a password.
const noUsers = "root:*:1::::::\n"

// sets is what a program does that changes the default user's password.
func (g *guest) sets(field string) {
	g.must(os.WriteFile("/etc/shadow", []byte(noUsers+"debian:"+field+":1::::::\n"), 0o640))
}

// write writes status.json, during a stage or between two.
func (c *cloudInit) write(stage string) {
	c.status["stage"] = nil
	if stage != "" {
		c.status["stage"] = stage
	}
	const file = "/var/lib/cloud/data/status.json"
	data, err := json.Marshal(map[string]any{"v1": c.status})
	c.must(err)
	c.must(os.MkdirAll(filepath.Dir(file), 0o755))
	c.must(os.WriteFile(file+".new", data, 0o644))
	c.must(os.Rename(file+".new", file))
	c.must(os.MkdirAll("/run/cloud-init", 0o755))
	if err := os.Symlink("../.."+file, "/run/cloud-init/status.json"); !errors.Is(err, fs.ErrExist) {
		c.must(err)
	}
}

// secret is in all passwords. The service has no reason to write it anywhere.
const secret = "hunter2"

// noSecret looks for passwords in a text and in all files, for their hashes in
// those that others can read, and at who can read what is private.
func (g *guest) noSecret(text string) {
	g.Helper()
	if strings.Contains(text, secret) || strings.Contains(text, "$6$") {
		g.Errorf("there is a secret in what was said:\n%s", text)
	}
	for _, dir := range []string{"/run", "/var/lib"} {
		g.must(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // NetworkManager's, gone meanwhile
			}
			if path == "/run/lab/host" || path == "/run/netns" {
				return fs.SkipDir
			}
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return nil
			}
			mine := strings.HasPrefix(path, credentials.DefaultDir) || strings.HasPrefix(path, daemon.RunDir+"/private")
			if open := info.Mode().Perm() & 0o077; mine && open != 0 {
				g.Errorf("got mode %v of %s, want one for root alone", info.Mode(), path)
			}
			if !info.Mode().IsRegular() {
				return nil
			}
			text := read(path)
			if strings.Contains(text, secret) {
				g.Errorf("there is a password in %s", path)
			}
			if strings.Contains(text, "$6$") && path != dropInFile {
				g.Errorf("there is a hash in %s", path)
			}
			return nil
		}))
	}
}

// told says how often password servers were told that a password was applied.
func (g *guest) told() (n int) {
	for _, vr := range g.vrs {
		n += strings.Count(words(vr), "saved_password")
	}
	return n
}

// words are what a VR's password server was asked in this boot.
func words(vr *vrtest.VR) string {
	var said []string
	for _, r := range vr.Requests() {
		if r.Port == vrtest.PasswordPort {
			said = append(said, r.DomURequest)
		}
	}
	return strings.Join(said, " ")
}

// read gives a file's content, nothing if there is none.
func read(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}
