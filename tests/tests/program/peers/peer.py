"""A client on Python's `h2`: peer.py URL. Exits with 0 if all went well.

Unlike other clients it decides itself when to acknowledge content, so it tests flow control."""

import socket
import ssl
import struct
import sys
from collections import defaultdict
from urllib.parse import urlsplit

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes

URL = urlsplit(sys.argv[1])


class Answer:
    """What has come of an answer."""

    def __init__(self):
        self.informational = []
        self.fields = {}
        self.content = bytearray()
        self.trailers = None
        self.unacknowledged = 0
        self.ended = False
        self.reset = None


class Client:
    """A connection. It acknowledges content at once, except for the streams in `held`.

    Its window is opened by `more` bytes at the start. The usual ones are enough for all that is held
    back, so that only streams wait for their windows."""

    def __init__(self, more=1 << 24):
        sock = socket.create_connection((URL.hostname, URL.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if URL.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            sock = context.wrap_socket(sock)
            assert sock.selected_alpn_protocol() == "h2"
        self.sock = sock
        self.received = bytearray()
        # The last stream and the error code of each GOAWAY frame.
        self.goaways = []
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.answers = defaultdict(Answer)
        self.events = []
        self.held = set()
        self.h2.initiate_connection()
        if more:
            self.h2.increment_flow_control_window(more)
        self.wait_for(lambda: self.has(RemoteSettingsChanged))

    def has(self, kind):
        return any(isinstance(event, kind) for event in self.events)

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def step(self):
        """Sends what is due, and takes what comes next. False at the end."""
        self.flush()
        data = self.sock.recv(65536)
        self.received += data
        while len(self.received) >= 9:
            length = 9 + int.from_bytes(self.received[:3], "big")
            if len(self.received) < length:
                break
            frame = bytes(self.received[:length])
            del self.received[:length]
            # h2 would send nothing more, so it does not see GOAWAY frames.
            if frame[3] == 7:
                self.goaways.append(struct.unpack(">II", frame[9:17]))
                continue
            for event in self.h2.receive_data(frame):
                self.take(event)
        self.flush()
        return bool(data)

    def take(self, event):
        self.events.append(event)
        answer = self.answers[getattr(event, "stream_id", 0)]
        if isinstance(event, InformationalResponseReceived):
            answer.informational.append(dict(event.headers)[":status"])
        elif isinstance(event, ResponseReceived):
            answer.fields = dict(event.headers)
        elif isinstance(event, DataReceived):
            answer.content += event.data
            answer.unacknowledged += event.flow_controlled_length
            if event.stream_id not in self.held:
                self.acknowledge(event.stream_id)
        elif isinstance(event, TrailersReceived):
            answer.trailers = dict(event.headers)
        elif isinstance(event, StreamEnded):
            answer.ended = True
        elif isinstance(event, StreamReset):
            answer.reset = event.error_code

    def acknowledge(self, stream):
        answer = self.answers[stream]
        self.h2.acknowledge_received_data(answer.unacknowledged, stream)
        answer.unacknowledged = 0

    def wait_for(self, is_so):
        while not is_so():
            assert self.step(), "the server has closed the connection"

    def begin(self, method, path, fields=(), end=False):
        stream = self.h2.get_next_available_stream_id()
        request = [(":method", method), (":scheme", URL.scheme), (":authority", URL.netloc)]
        self.h2.send_headers(stream, [*request, (":path", path), *fields], end_stream=end)
        return stream

    def send(self, stream, data, end=False, padding=None):
        """Sends as much at a time as the windows allow."""
        view = memoryview(data)
        while view:
            # The length of the padding and the padding count as well.
            room = self.h2.local_flow_control_window(stream) - (padding or 0) - 1
            size = min(len(view), room, self.h2.max_outbound_frame_size - 256)
            if size <= 0:
                assert self.step(), "the server has closed the connection"
                continue
            self.h2.send_data(stream, bytes(view[:size]), pad_length=padding)
            view = view[size:]
            self.flush()
        if end:
            self.h2.end_stream(stream)

    def end(self, stream):
        self.wait_for(lambda: self.answers[stream].ended)
        return self.answers[stream]

    def get(self, path):
        return self.end(self.begin("GET", path, end=True))


client = Client()
assert client.h2.remote_settings.enable_connect_protocol == 1

# Many requests at once.
streams = [client.begin("GET", f"/bytes/{n * 100}", end=True) for n in range(100)]
for n, stream in enumerate(streams):
    answer = client.end(stream)
    assert (answer.fields[":status"], len(answer.content)) == ("200", n * 100), vars(answer)

# Large content in each direction, with and without padding.
large = bytes(n * n % 251 for n in range(1000)) * 1000
assert len(client.get("/bytes/3000000").content) == 3_000_000
for path, expected in [("/sink", b"1000000"), ("/lazy/50", b"1000000"), ("/echo", large)]:
    for padding in [None, 200]:
        stream = client.begin("POST", path)
        client.send(stream, large, end=True, padding=padding)
        assert client.end(stream).content == expected, path

answer = client.end(client.begin("HEAD", "/bytes/1000", end=True))
assert (answer.fields["content-length"], answer.content) == ("1000", b"")

# Trailers come back with the content.
stream = client.begin("POST", "/echo")
client.send(stream, b"counted")
client.h2.send_headers(stream, [("checksum", "abc")], end_stream=True)
answer = client.end(stream)
assert (answer.content, answer.trailers) == (b"counted", {"checksum": "abc"}), vars(answer)

# 100 (Continue).
stream = client.begin("POST", "/sink", [("expect", "100-continue")])
client.wait_for(lambda: client.answers[stream].informational == ["100"])
client.send(stream, b"12345", end=True)
assert client.end(stream).content == b"5"

# A head that needs CONTINUATION frames: larger than a frame, and within the limit.
fields = [(f"field-{n}", f"{n:0300}") for n in range(80)]
stream = client.begin("GET", "/hello", fields, end=True)
assert client.end(stream).fields[":status"] == "200"

# An answer stops when its window is used up, and other answers do not wait for it.
client.held.add(held := client.begin("GET", "/bytes/100000", end=True))
client.wait_for(lambda: client.h2.remote_flow_control_window(held) == 0)
assert len(client.answers[held].content) == 65_535
assert len(client.get("/hello").content) == 13
client.acknowledge(held)
client.held.clear()
assert len(client.end(held).content) == 100_000

# A window that shrinks below what an open stream has used, and grows again.
client.held.add(held := client.begin("GET", "/bytes/200000", end=True))
client.wait_for(lambda: client.h2.remote_flow_control_window(held) == 0)
for size in [10_000, 70_000]:
    client.events.clear()
    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})
    client.wait_for(lambda: client.has(SettingsAcknowledged))
client.wait_for(lambda: len(client.answers[held].content) == 70_000)
# What came of this stream is held back from the connection's window as well.
client.acknowledge(held)
client.held.clear()
assert len(client.end(held).content) == 200_000

# Frames of another size.
client.events.clear()
client.h2.update_settings({SettingCodes.MAX_FRAME_SIZE: 100_000, SettingCodes.HEADER_TABLE_SIZE: 0})
client.wait_for(lambda: client.has(SettingsAcknowledged))
assert len(client.get("/bytes/1000000").content) == 1_000_000

# Requests that are cancelled within their answer, and within their content.
for method, path in [("GET", "/bytes/300000000000"), ("POST", "/echo"), ("POST", "/sink")]:
    stream = client.begin(method, path, end=method == "GET")
    if method == "POST":
        client.send(stream, b"x" * 1000)
    if path != "/sink":
        client.wait_for(lambda: client.answers[stream].content)
    client.h2.reset_stream(stream, ErrorCodes.CANCEL)
client.h2.ping(b"are you?")
client.wait_for(lambda: client.has(PingAckReceived))
assert len(client.get("/hello").content) == 13

# Answers that wait for the connection's window are sent in the order of their priorities: first the
# most urgent one, then the two that take turns, then the last one.
orderly = Client(more=0)
orderly.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24})
orderly.wait_for(lambda: orderly.has(SettingsAcknowledged))
plug = orderly.begin("GET", "/bytes/65535", end=True)
orderly.held.add(plug)
assert len(orderly.end(plug).content) == 65_535
waiting = [("u=7", 600_000), ("u=0", 600_000), ("u=3, i", 400_000), ("u=3, i", 400_000)]
late, urgent, *turns = [
    orderly.begin("GET", f"/bytes/{length}", [("priority", priority)], end=True)
    for priority, length in waiting
]
orderly.wait_for(lambda: all(orderly.answers[it].fields for it in [late, urgent, *turns]))
orderly.events.clear()
orderly.h2.increment_flow_control_window(1 << 24)
orderly.wait_for(lambda: all(orderly.answers[it].ended for it in [late, urgent, *turns]))
came = defaultdict(int)
for event in orderly.events:
    if isinstance(event, DataReceived) and event.data:
        came[event.stream_id] += len(event.data)
        assert event.stream_id == urgent or came[urgent] == 600_000, came
        one, other = (came[stream] for stream in turns)
        assert came[late] == 0 or one == other == 400_000, came
        assert abs(one - other) <= 32_768, came
orderly.sock.close()

# A refusal comes before the content, and the rest of the content does not harm.
stream = client.begin("POST", "/hello")
client.send(stream, b"x" * 1000)
assert client.end(stream).fields[":status"] == "405"
client.send(stream, b"x" * 1000, end=True)
assert len(client.get("/hello").content) == 13

# The server drains while requests are in progress: all of them are answered.
upload = client.begin("POST", "/sink")
client.send(upload, b"before")
client.held.add(download := client.begin("GET", "/bytes/3000000", end=True))
client.wait_for(lambda: client.answers[download].content)
chat = client.begin("POST", "/echo")
client.send(chat, b"before")
client.wait_for(lambda: client.answers[chat].content == b"before")
print("busy", flush=True)
assert input() == "elsewhere"
client.wait_for(lambda: client.goaways)
client.send(chat, b"after", end=True)
assert client.end(chat).content == b"beforeafter"
client.send(upload, b"after", end=True)
assert client.end(upload).content == b"11"
client.acknowledge(download)
client.held.clear()
assert len(client.end(download).content) == 3_000_000
while client.step():
    pass
client.sock.close()
assert all(code == ErrorCodes.NO_ERROR for _, code in client.goaways), client.goaways
assert client.goaways[-1][0] == chat, client.goaways

other = Client()
assert len(other.get("/hello").content) == 13
