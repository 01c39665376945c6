"""Answers run apart from the machine, and from the judge: see `docs/threat_model.md`.

`isolated` grades one notebook. `submission` reads it, `sandbox` says where it runs; `runner` is the
inside of the sandbox, with `cells`, and with `screening` and `guard`, which watch over the answers.
"""
