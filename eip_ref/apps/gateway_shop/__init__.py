"""A small shop behind an API gateway: `eip app gateway`."""
