"""The dashboard of users and billing: REST commands, GraphQL queries, a WebSocket stream, and a page.

`services.py` has the two services and the view that joins them; `shop.py` puts the system together, on
SQLite files in one folder; `rest.py`, `graphql.py` and `stream.py` are its three doors; `serve.py` hangs
them up with `page.html`; `eip app dashboard` starts it. Needs the extra `course`, on asyncio; nothing of
that is loaded before it is asked for.

*Left out:* authentication, TLS, more than one process.
"""
