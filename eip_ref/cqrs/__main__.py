"""`python -m eip_ref.cqrs` serves the dashboard on this machine."""

from __future__ import annotations

import sys

try:
    from .app.web import main
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is missing; install it with: pip install -e '.[course]'")

if __name__ == "__main__":
    main()
