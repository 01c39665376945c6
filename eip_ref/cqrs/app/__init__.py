"""The web application: REST commands, GraphQL queries, a WebSocket stream, and a page that shows the lag.

`shop.py` puts the system together, on SQLite files in one folder; `rest.py`, `graphql.py` and
`stream.py` are its three doors; `web.py` hangs them up and serves `page.html`. Needs Starlette,
uvicorn, websockets and Strawberry, on asyncio; nothing of it is loaded before it is asked for.

*Left out:* authentication, TLS, more than one process.
"""
