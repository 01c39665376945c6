"""`python -m tests.javascript`: lint the JavaScript of the package. Fails when there is a finding."""

from __future__ import annotations

import sys

from . import ROOT, lint

if __name__ == "__main__":
    findings = lint(ROOT / "eip_ref")
    print("\n".join(findings) or "No findings in the JavaScript.")
    sys.exit(1 if findings else 0)
