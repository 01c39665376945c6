"""The dashboard of users and billing: REST commands, GraphQL queries, a WebSocket stream, and a page.

`services.py` has the two services and the view that joins them, `channel.py` the log between them, a file or
Kafka. `shop.py` puts the system together, on SQLite files in one folder. `rest.py`, `graphql.py` and
`stream.py` are its three doors; `serve.py` opens them, with `page.html`, on one port. `faults.py` breaks what
a workshop wants to see broken. `eip app dashboard` starts all of it. Needs the extra `course`, on asyncio;
nothing of that is loaded before it is asked for.

*Left out:* authentication, TLS, more than one process.
"""
