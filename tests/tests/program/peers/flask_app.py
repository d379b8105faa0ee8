"""An application of Flask's, and a websocket beside it, for Hypercorn: `hypercorn flask_app:application`.

`/progress` tells how many requests and websockets Hypercorn works on, has begun, and worked on at most.
"""

import json
from contextlib import contextmanager

from flask import Flask, jsonify, request
from hypercorn.middleware import AsyncioWSGIMiddleware

app = Flask(__name__)
progress = {kind: {"now": 0, "most": 0, "begun": 0} for kind in ("http", "websocket")}


@app.route("/hello")
def hello():
    return "Hello, world!"


@app.route("/large")
def large():
    return b"x" * 30_000_000


@app.route("/count", methods=["POST"])
def count():
    return str(len(request.get_data()))


@app.route("/fields")
def fields():
    return jsonify(list(request.headers), request.remote_addr, request.host)


flask = AsyncioWSGIMiddleware(app, max_body_size=64 << 20)


@contextmanager
def counted(kind):
    """Until the answer has left, however slowly it is taken."""
    counts = progress[kind]
    counts["begun"] += 1
    counts["now"] += 1
    counts["most"] = max(counts["most"], counts["now"])
    try:
        yield
    finally:
        counts["now"] -= 1


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "http" and scope["path"] == "/progress":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        return await send({"type": "http.response.body", "body": json.dumps(progress).encode()})
    with counted(scope["type"]):
        if scope["type"] == "http":
            return await flask(scope, receive, send)
        await echo(scope, receive, send)


async def echo(scope, receive, send):
    await receive()
    offered = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": offered[-1] if offered else None})
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        if event.get("text") == "close":
            return await send({"type": "websocket.close", "code": 4002})
        await send({"type": "websocket.send", "bytes": event.get("bytes"), "text": event.get("text")})
