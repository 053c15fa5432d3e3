"""cloud-init's own crawl of the virtual router, in a process that starts as /usr/bin/cloud-init does.

Standard output gets one JSON object: the times (seconds since the epoch) at
which the modules were loaded and the crawl had ended, and what it found.
"""

import json
import time

from cloudinit.cmd import main  # noqa: F401, what /usr/bin/cloud-init loads
from cloudinit import helpers, version
from cloudinit.sources import DataSourceCloudStack as cs

loaded = time.time()

# Its question for a password (wget, port 8080) is left out: it is another job.
cs.CloudStackPasswordServerClient.get_password = lambda self: None
source = cs.DataSourceCloudStack({}, None, helpers.Paths({}))
if not source._get_data():
    raise SystemExit("the crawl failed")

crawled = time.time()
print(json.dumps({
    "loaded": loaded,
    "crawled": crawled,
    "version": version.version_string(),
    "metadata": json.dumps(source.metadata),
    "userdata": source.userdata_raw.decode(),
}))
