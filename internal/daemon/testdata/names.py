# What cloud-init itself makes of our seed, lease and drop-in, run inside a Debian root: its
# datasource, its merger of the configuration and its get_hostname_fqdn are the real ones.
# Each way to ask a DHCP client for a domain ends the question with "asked". Prints a line
# of JSON per tree, and first the distributions whose host name is the FQDN.
import glob, json, logging, os, shutil, sys, types
from cloudinit import distros, helpers, util
from cloudinit.handlers import CONTENT_END, CONTENT_START
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
from cloudinit.sources import DataSourceCloudStack

try:
    from cloudinit.net import dhcp
except ImportError:
    dhcp = types.SimpleNamespace()
logging.getLogger().addHandler(logging.NullHandler())
TEMPLATE = "## template: jinja\n"


class Asked(BaseException):
    pass


def bomb(*args, **kwargs):
    raise Asked()


DataSourceCloudStack.get_vr_address = lambda *args: "10.1.1.1"
for name in "IscDhclient", "network_manager_get_option_from_leases", "maybe_perform_dhcp_discovery":
    setattr(dhcp, name, bomb)
for name in "dhcp_client", "fallback_interface":
    setattr(distros.Distro, name, property(bomb))
util.get_hostname = lambda: "img"
util.get_fqdn_from_hosts = lambda *args: None


def attempt(ask):
    try:
        return ask()
    except Asked:
        return ["asked"]
    except Exception as e:
        return [repr(e)]


def names(tree):
    shutil.rmtree("/run/nm-cloud-seed", ignore_errors=True)
    if os.path.isdir(tree + "/run/nm-cloud-seed"):
        shutil.copytree(tree + "/run/nm-cloud-seed", "/run/nm-cloud-seed", symlinks=True)
    base = util.read_conf_with_confd(tree + "/etc/cloud/cloud.cfg")
    base["datasource_list"] = ["CloudStack"]
    paths = helpers.Paths({"cloud_dir": tree + "/var/lib/cloud", "run_dir": tree + "/run/cloud-init"})
    distro = distros.fetch("debian")("debian", dict(base.get("system_info", {})), paths)
    ds = DataSourceCloudStack.DataSourceCloudStack(base, distro, paths)
    ds.seed_dir = "/run/nm-cloud-seed/seed"
    if not ds.get_data():
        raise RuntimeError("the datasource found nothing")
    paths.datasource = ds

    def ask(metadata_only):
        cfg = helpers.ConfigMerger(paths=paths, datasource=ds, base_cfg=base).cfg
        distro.set_option("prefer_fqdn_over_hostname", util.get_cfg_option_bool(cfg, "prefer_fqdn_over_hostname", None) or False)
        hostname, fqdn, _ = util.get_hostname_fqdn(cfg, ds, metadata_only=metadata_only)
        return [distro._select_hostname(hostname, fqdn), fqdn]

    def direct():  # as cc_phone_home does
        return [ds.get_hostname().hostname, ds.get_hostname(fqdn=True).hostname]

    got = {}
    user = CloudConfigPartHandler(paths)
    for lease in "lease", "no lease":
        dhcp.NETWORKD_LEASES_DIR = tree + "/run/systemd/netif/leases" if lease == "lease" else "/nonexistent"
        shutil.rmtree(tree + "/var/lib/cloud/instances", ignore_errors=True)
        # The network stage sets the host name before it has merged the user-data.
        got["early, " + lease] = attempt(lambda: ask(True))
        user.handle_part(None, CONTENT_START, None, None, "always", {})
        payload = open(tree + "/user-data").read()
        payload = payload[len(TEMPLATE):] if payload.startswith(TEMPLATE) else payload
        if payload:
            user.handle_part(None, "text/cloud-config", "part", payload, "always", {})
        user.handle_part(None, CONTENT_END, None, None, "always", {})
        util.sym_link("instances/i", tree + "/var/lib/cloud/instance", force=True)
        got["late, " + lease] = attempt(lambda: ask(False))
        got["direct, " + lease] = attempt(direct)
    return got


def prefers(name):
    try:
        distro = distros.fetch(name)(name, {}, None)
        return distro._select_hostname("h", "h.d") == "h.d"
    except Exception:
        return False


stdout, sys.stdout = sys.stdout, open(os.devnull, "w")
known = sorted({n for family in distros.OSFAMILIES.values() for n in family})
print(json.dumps([n for n in known if prefers(n)]), file=stdout)
for tree in sorted(glob.glob("/mnt/*")):
    print(json.dumps(names(tree)), file=stdout, flush=True)
