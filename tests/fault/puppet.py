#!/usr/bin/env python3
"""A socket program on strings: one JSON command a line on standard input, one JSON answer a line.

Plain Python sockets; knows nothing of netd. {"op": NAME, "id": SOCKET, ...}
"""
import hashlib
import json
import select
import socket
import sys

socks = {}


def listen(c):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((c.get("host", "0.0.0.0"), c["port"]))
    s.listen(c.get("backlog", 16))
    socks[c["id"]] = s


def accept(c):
    l = socks[c["id"]]
    l.settimeout(c.get("timeout", 30))
    conn, peer = l.accept()
    conn.settimeout(60)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    socks[c["child"]] = conn
    return {"peer": list(peer)}


def connect(c):
    s = socket.socket()
    if "rcvbuf" in c:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, c["rcvbuf"])
    s.settimeout(60)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.connect((c["host"], c["port"]))
    socks[c["id"]] = s
    return {"name": list(s.getsockname())}


def pattern(n, salt):
    unit = hashlib.sha256(str(salt).encode()).digest() * 128
    return (unit * (n // len(unit) + 1))[:n]


def send(c):
    data = pattern(c["n"], c.get("salt", 0))
    socks[c["id"]].sendall(data)
    return {"sha": hashlib.sha256(data).hexdigest()}


def fill(c):
    """Sends without blocking until the window is full and stays full."""
    s, sent, h = socks[c["id"]], 0, hashlib.sha256()
    s.setblocking(False)
    data = pattern(1 << 16, c.get("salt", 0))
    while sent < c.get("most", 1 << 26):
        if not select.select([], [s], [], c.get("patience", 0.5))[1]:
            break
        try:
            n = s.send(data)
        except BlockingIOError:
            continue
        h.update(data[:n])
        sent += n
        data = data[n:] + data[:n]
    s.settimeout(60)
    return {"sent": sent, "sha": h.hexdigest()}


def recv(c):
    h, n = hashlib.sha256(), 0
    while n < c["n"]:
        b = socks[c["id"]].recv(min(1 << 17, c["n"] - n))
        if not b:
            break
        h.update(b)
        n += len(b)
    return {"n": n, "sha": h.hexdigest()}


def eof(c):
    return {"eof": socks[c["id"]].recv(1) == b""}


def shutdown(c):
    socks[c["id"]].shutdown(socket.SHUT_WR)


def close(c):
    socks.pop(c["id"]).close()


def main():
    for line in sys.stdin:
        c = json.loads(line)
        try:
            answer = globals()[c["op"]](c) or {}
            answer["ok"] = True
        except OSError as e:
            answer = {"ok": False, "error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)


main()
