#!/usr/bin/env python3
"""The kernel's side of examples_e2e.sh.

  echo HOST PORT N BYTES   N connections at once; says "open" when all are there, waits for the end of standard input,
                           then sends BYTES on each and compares what comes back. The first connection does not read
                           before all others are done.
  take ADDRESS PORT FILE   takes one connection, waits for the end of standard input, then reads it into FILE
"""
import random
import selectors
import socket
import sys


class Client:
    def __init__(self, host, port, number, size):
        self.conn = socket.create_connection((host, port), timeout=30)
        self.conn.setblocking(False)
        self.data = random.Random(number).randbytes(size)
        self.sent = self.got = 0
        self.ended = False

    def send(self):
        if self.sent < len(self.data):
            self.sent += self.conn.send(memoryview(self.data)[self.sent : self.sent + (1 << 17)])
            if self.sent == len(self.data):
                self.conn.shutdown(socket.SHUT_WR)

    def receive(self):
        part = self.conn.recv(1 << 17)
        if self.data[self.got : self.got + len(part)] != part:
            raise SystemExit(f"content differs near byte {self.got}")
        self.got += len(part)
        self.ended = not part
        if self.ended and self.got < len(self.data):
            raise SystemExit(f"ended after {self.got} of {len(self.data)} bytes")

    def wants(self, reading):
        return (selectors.EVENT_WRITE if self.sent < len(self.data) else 0) | (selectors.EVENT_READ if reading else 0)


def run(clients, sleeper):
    """Until all of `clients` are done; `sleeper` only sends meanwhile, as far as it can."""
    sel = selectors.DefaultSelector()
    left = len(clients)
    for c in clients:
        sel.register(c.conn, c.wants(True), c)
    if sleeper:
        sel.register(sleeper.conn, selectors.EVENT_WRITE, sleeper)
    while left:
        ready = sel.select(30)
        if not ready:
            raise SystemExit(f"{left} connections stand still")
        for key, events in ready:
            c = key.data
            if events & selectors.EVENT_WRITE:
                c.send()
            if events & selectors.EVENT_READ:
                c.receive()
            if c.ended:
                sel.unregister(c.conn)
                left -= 1
            elif c.wants(c is not sleeper):
                sel.modify(c.conn, c.wants(c is not sleeper), c)
            else:
                sel.unregister(c.conn)
    sel.close()


def echo(host, port, n, size):
    # The sleeper has more to send than all rings on its way hold, so that the server's side of it fills up.
    clients = [Client(host, port, i, size if i else 30000000) for i in range(n)]
    print("open", flush=True)
    sys.stdin.read()
    run(clients[1:], clients[0])
    run(clients[:1], None)
    for c in clients:
        c.conn.close()
    print(f"{sum(c.got for c in clients)} bytes came back as they were sent")


def take(address, port, path):
    with socket.create_server((address, port)) as l:
        print("listening", flush=True)
        conn, _ = l.accept()
    sys.stdin.read()
    with conn, open(path, "wb") as f:
        while part := conn.recv(1 << 18):
            f.write(part)


a = sys.argv[1:]
if a[0] == "echo":
    echo(a[1], int(a[2]), int(a[3]), int(a[4]))
else:
    take(a[1], int(a[2]), a[3])
