# What cloud-init itself makes of trees of its files, run inside a Debian root:
# its loader, merger, modules, semaphores and status.json are the real ones, its
# distribution and its SSH keys are not. Prints a line of JSON per tree.
import argparse, glob, inspect, json, logging, os, shutil, sys, types
from cloudinit import distros, helpers, ssh_util, subp, util
from cloudinit.cmd import main
from cloudinit.config import cc_set_passwords, cc_ssh
from cloudinit.config.modules import Modules
from cloudinit.distros import ug_util
from cloudinit.handlers import CONTENT_END, CONTENT_START
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
from cloudinit.stages import Init

try:
    from cloudinit.log import loggers  # since 24.4
    loggers.configure_root_logger()
    exporter = logging.getLogger().handlers[0]
except ImportError:
    exporter = None
logging.getLogger().addHandler(logging.NullHandler())


def apply(tree):
    if exporter:
        exporter.holder.clear()
    shutil.rmtree("/run/nm-cloud-seed", ignore_errors=True)
    shutil.copytree(tree + "/run/nm-cloud-seed", "/run/nm-cloud-seed")
    for f in glob.glob("/etc/ssh/*"):
        os.unlink(f)
    for f in "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub":
        util.write_file("/etc/ssh/" + f, "old")
    fail = util.load_yaml(open(tree + "/fail").read(), default="", allowed=(str,))
    got = {"chpasswd": [], "expired": [], "pwauth": None, "keys": []}

    ds = types.SimpleNamespace(
        get_instance_id=lambda: "i", get_config_obj=lambda: {}, publish_host_keys=lambda keys: None)
    paths = helpers.Paths({"cloud_dir": tree + "/var/lib/cloud", "run_dir": tree + "/run/cloud-init"}, ds)
    user = CloudConfigPartHandler(paths)
    payload = open(tree + "/user-data").read()
    user.handle_part(None, CONTENT_START, None, None, "always", {})
    if payload:
        user.handle_part(None, "text/cloud-config", "part", payload, "always", {})
    user.handle_part(None, CONTENT_END, None, None, "always", {})
    util.sym_link("instances/i", tree + "/var/lib/cloud/instance", force=True)

    init = Init(ds_deps=[])
    init._cfg = helpers.ConfigMerger(
        paths=paths, base_cfg=util.read_conf_with_confd(tree + "/etc/cloud/cloud.cfg")).cfg
    init._paths = paths
    distro = init.distro

    def chpasswd(plist, hashed):
        if fail == "module":
            raise subp.ProcessExecutionError(cmd=["chpasswd", "SECRET"], exit_code=1)
        got["chpasswd"] += [[u, p, hashed] for u, p in plist]

    def setup_user_keys(keys, username, options=None):
        if fail == "ssh":
            raise OSError("SECRET")
        got["keys"] += [[username, sorted(keys)]]

    def ssh_keygen(cmd, **kwargs):
        util.write_file(cmd[-1], "new")
        return "", ""

    distro.chpasswd = chpasswd
    distro.expire_passwd = got["expired"].append
    cc_set_passwords.handle_ssh_pwauth = lambda pwauth, distro: got.update(pwauth=pwauth)
    ssh_util.setup_user_keys = setup_user_keys
    cc_ssh.subp = types.SimpleNamespace(subp=ssh_keygen, ProcessExecutionError=subp.ProcessExecutionError)
    runners = helpers.Runners(paths)
    init.cloudify = lambda: types.SimpleNamespace(
        distro=distro, datasource=ds, get_public_ssh_keys=lambda: ["ssh-ed25519 AAAA"],
        run=lambda name, functor, args, freq: runners.run(name, functor, args, freq))
    init.datasource = ds
    try:
        users, _ = ug_util.normalize_users_groups(dict(init.cfg), distro)
        got["user"] = ug_util.extract_default(users)[0] or ""
    except Exception:
        got["user"] = ""

    def stage(name, functor, **args):
        args = argparse.Namespace(action=(name, functor), **args)
        where = {}
        if "data_d" in inspect.signature(main.status_wrapper).parameters:
            where = {"data_d": tree + "/var/lib/cloud/data", "link_d": tree + "/run/cloud-init"}
        main.read_cfg_paths = lambda: paths
        main.status_wrapper(name, args, **where)

    def modules(name):
        if fail == name:
            raise RuntimeError("SECRET")
        return main.run_module_section(Modules(init), name, name)

    stage("init", lambda name, args: (None, []), local=True)
    stage("init", lambda name, args: (ds, modules("init")), local=False)
    stage("modules", lambda name, args: modules("config"), mode="config")
    stage("modules", lambda name, args: modules("final"), mode="final")
    got["hostkeys"] = {f[len("/etc/ssh/ssh_host_"):]: open(f).read() for f in glob.glob("/etc/ssh/ssh_host_*_key")}
    return got


stdout, sys.stdout = sys.stdout, open(os.devnull, "w")
for tree in sorted(glob.glob("/mnt/*")):
    print(json.dumps(apply(tree)), file=stdout, flush=True)
