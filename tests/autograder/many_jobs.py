"""A script: a runner that is started once, and forks for each job that it reads.

To start one anew costs more than the answers of most notebooks. A fork does what `quick_start` does when it
is started, and a line with nothing on it says that it is done.
"""

import io
import json
import os
import runpy
import sys

runner = runpy.run_path(sys.argv[1])["runner"]
for line in sys.stdin:
    for name in json.loads(line)["seeds"]:
        runner.registry.find(name)  # what a fork imports, the next would have to import again
    if os.fork() == 0:
        sys.stdin = io.StringIO(line)
        runner.main()
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    print(flush=True)
