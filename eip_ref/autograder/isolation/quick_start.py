"""A script that starts `runner` quickly: without `site`, and without what shows things to people.

A stand-in takes the place of `eip_ref.autograder` itself, whose functions a notebook calls and a grader
does not need. To import them, and to run `site`, would take a third of the start of each notebook.
"""

import os
import site
import sys
from types import ModuleType

package = ModuleType("eip_ref.autograder")
package.__path__ = [os.path.dirname(os.path.dirname(__file__))]
sys.modules[package.__name__] = package
site.setquit()
site.setcopyright()
site.sethelper()  # `exit`, `help` and the like, which cells may use

from eip_ref.autograder.isolation import runner  # noqa: E402

if __name__ == "__main__":
    status = runner.main()
    sys.stdout.flush()
    os._exit(status)  # nothing here needs a proper end, and Python's own takes longer than an exercise
