"""Prints one table of the figures that gauntlet.sh has collected in a folder."""

import json
import pathlib
import sys

CASES = {
    "silent": "inactive connections",
    "large-body": "large request bodies",
    "slow-body": "slow request bodies",
    "response-unread": "response not read",
    "response-slow": "response read slowly",
    "ws-large": "large websocket messages",
    "tls-slow-handshake": "slow TLS handshake",
}
SERVERS = ["portcullis", "nginx", "hyper", "Hypercorn"]

folder, patience = pathlib.Path(sys.argv[1]), sys.argv[2]


def size(count):
    if count is None:
        return "?"
    if count < 10_000_000:
        return f"{count / 1024:.0f} KiB"
    return f"{count / 1048576:.0f} MiB"


def cell(server, case):
    file = folder / f"{server}.{case}.json"
    if not file.exists():
        return "–"
    report = json.loads(file.read_text())[0]
    if report["held_in_the_end"]:
        end = f"holds {report['held_in_the_end']} after {patience} s"
    elif report["last_dropped_s"] is None:
        end = "left"
    else:
        end = f"{report['last_dropped_s']:.1f} s"
    memory = size(report["memory_per_attacker_bytes"])
    p99 = report["healthy_during"]["p99_us"] / 1000
    accepted = ", all accepted" if any("answered with" in it for it in report["faults"]) else ""
    return f"{end}{accepted}; {memory}; {p99:.1f} ms"


print("| case |", " | ".join(SERVERS), "|")
print("|---" * (len(SERVERS) + 1) + "|")
for case, title in CASES.items():
    print(f"| {title} (`{case}`) |", " | ".join(cell(it, case) for it in SERVERS), "|")
