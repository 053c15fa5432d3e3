"""Asks cloud-init's own CloudStack datasource, in the root of its release.

For each line on stdin, {"cloud_dir": DIRECTORY}, it makes a new datasource
whose seed would be at DIRECTORY/seed/cs, lets it get its data, and answers with
one line of what cloud-init's stages then ask it for. Nothing is patched.
"""

import base64
import json
import logging
import os
import sys
import traceback

from cloudinit import distros, helpers, version
from cloudinit.sources import DataSourceCloudStack
from cloudinit.sources.helpers import ec2

# The answers' own channel: nothing that cloud-init writes gets into it.
answers = os.fdopen(os.dup(1), "w", encoding="ascii")
os.dup2(2, 1)
logging.basicConfig(stream=sys.stderr, level=logging.WARNING)


def typed(value):
    """JSON that tells types apart, and strings from what cannot be one."""
    if isinstance(value, str):
        return {"str": value}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return {"list": [typed(v) for v in value]}
    if isinstance(value, dict):
        return {"dict": [[typed(k), typed(v)] for k, v in sorted(value.items(), key=repr)]}
    return {type(value).__name__: repr(value)}


def name(answer):
    """A hostname: since 22.4 a named tuple with is_default."""
    return typed(getattr(answer, "hostname", answer))


def attempt(ask):
    try:
        return ask()
    except Exception as e:
        traceback.print_exc()
        return {"error": repr(e)}


def parts(message):
    """What the handlers of user-data get; the boundaries are random."""
    return [
        [p.get_content_type(), str(p.get_filename()), p.get_payload(decode=True) or b""]
        for p in message.walk()
    ]


def decoded(metadata):
    """The metadata as the crawl decodes it, were each string a VR's answer."""
    decode = ec2.MetadataLeafDecoder()
    return {
        k: decode(k, v.encode("utf-8", "surrogatepass")) if isinstance(v, str) else v for k, v in metadata.items()
    }


def ask(cloud_dir):
    # This one source, as images for VMware and Xen set it: since 25.2 the class
    # would want the firmware's product name to say CloudStack otherwise.
    config = {"datasource_list": ["CloudStack"]}
    paths = helpers.Paths({"cloud_dir": cloud_dir, "run_dir": "/run/cloud-init"})
    distro = distros.fetch("debian")("debian", config, paths)
    ds = DataSourceCloudStack.DataSourceCloudStack(config, distro, paths)
    if not ds.get_data():
        raise RuntimeError("the datasource found nothing")
    return {
        "facts": {
            "instance-id": attempt(lambda: typed(ds.get_instance_id())),
            "hostname": attempt(lambda: name(ds.get_hostname())),
            "FQDN": attempt(lambda: name(ds.get_hostname(fqdn=True))),
            "public keys": attempt(lambda: typed(ds.get_public_ssh_keys())),
            "availability zone": attempt(lambda: typed(ds.availability_zone)),
            "user-data": attempt(lambda: typed(ds.get_userdata_raw())),
            "user-data parts": attempt(lambda: typed(parts(ds.get_userdata(True)))),
            "cloud name": attempt(lambda: typed(ds.cloud_name)),
            "region": attempt(lambda: typed(ds.region)),
            "launch index": attempt(lambda: typed(ds.launch_index)),
            "configuration": attempt(lambda: typed(ds.get_config_obj())),
        },
        "metadata": {k: typed(v) for k, v in ds.metadata.items()},
        "decoded": {k: typed(v) for k, v in decoded(ds.metadata).items()},
    }


def answer(reply):
    answers.write(json.dumps(reply) + "\n")
    answers.flush()


answer({"cloud-init": version.version_string(), "python": sys.version.split()[0]})
for line in sys.stdin:
    answer(attempt(lambda: ask(json.loads(line)["cloud_dir"])))
