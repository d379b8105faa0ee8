"""What systemd does for a service: it opens the sockets, and is told how the service is.

    systemd.py PROGRAM FILE

Starts the program with a TCP socket and a Unix socket (sd_listen_fds(3)) and the configuration FILE, and prints
what it sees, a line each.
"""

import ctypes
import os
import signal
import socket
import sys
import tempfile

FIRST = 3  # SD_LISTEN_FDS_START


def ask(connection):
    connection.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = b""
    while more := connection.recv(65536):
        answer += more
    return answer.partition(b"\r\n")[0].decode()


def told(notified):
    """The states of the next message."""
    states = notified.recv(4096).decode().split("\n")
    return " ".join(state.partition("=")[0] for state in states if state)


program, file = sys.argv[1:]
folder = tempfile.mkdtemp()
notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notified.bind(f"{folder}/notify")
notified.settimeout(60)
tcp = socket.create_server(("127.0.0.1", 0))
unix = socket.socket(socket.AF_UNIX)
unix.bind(f"{folder}/listen")
unix.listen()

child = os.fork()
if child == 0:
    # No program is left behind if this one is killed.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    first, second = os.dup(tcp.fileno()), os.dup(unix.fileno())
    for place, passed in enumerate((first, second), FIRST):
        os.dup2(passed, place)
    os.environ.update(
        LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", NOTIFY_SOCKET=f"{folder}/notify"
    )
    os.execv(program, [program, "--config", file])

print("told", told(notified))
with socket.create_connection(tcp.getsockname()) as connection:
    print("tcp", ask(connection))
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(f"{folder}/listen")
    print("unix", ask(connection))
with open(file, "a") as text:
    text.write("requests_per_connection = 1\n")
os.kill(child, signal.SIGHUP)
print("told", told(notified))
print("told", told(notified))
with socket.create_connection(tcp.getsockname()) as connection:
    connection.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
    print("closes", b"connection: close" in connection.recv(65536).lower())
os.kill(child, signal.SIGTERM)
print("told", told(notified))
print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
