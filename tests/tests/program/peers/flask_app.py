"""An application of Flask's, and a websocket beside it, for Hypercorn: `hypercorn flask_app:application`."""

from flask import Flask, jsonify, request
from hypercorn.middleware import AsyncioWSGIMiddleware

app = Flask(__name__)


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


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    if scope["type"] != "websocket":
        return await flask(scope, receive, send)
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
