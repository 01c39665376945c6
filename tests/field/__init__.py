"""The promises of the patterns, asked of real systems in real time. Only `make field` runs them."""
