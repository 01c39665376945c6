"""Answers run apart from the machine, and from the judge: see `docs/threat_model.md`.

`isolated` grades one notebook. `submission` reads it and `cells` chooses what an exercise needs of it;
`sandbox` says where answers run, and `starter` starts the process that starts them.
"""
