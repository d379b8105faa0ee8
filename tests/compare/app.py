async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "bytes": message.get("bytes"), "text": message.get("text")})
    path = scope["path"]
    if path == "/sink":
        length, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            length, more = length + len(message["body"]), message.get("more_body", False)
        body = str(length).encode()
    elif path.startswith("/bytes/"):
        left, block = int(path[7:]), b"x" * 65536
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(left).encode())]})
        while left > 0:
            await send({"type": "http.response.body", "body": block[:left], "more_body": left > 65536})
            left -= 65536
        return
    else:
        body = b"Hello, world!"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
