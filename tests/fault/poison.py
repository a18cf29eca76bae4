#!/usr/bin/env python3
"""A frame, a packet on lo and a request that crash netd-inet each time they are worked: after two deaths each is set
aside, and everything else goes on. Needs the build with kill points, in which certain bytes are poison.

   kernel: sends poisoned and honest datagrams, a stream   --->   netd: echo server (UDP), stream sink, a client with a
                                                                  poisoned option, a sender on lo

Run inside tools/lab, NETD_LIBEXEC=build/netd/killpoints:  tests/fault/poison.py
"""
import glob
import hashlib
import json
import os
import socket
import subprocess
import sys
import time

SEGV, SPIN = b"\x01netd-poison-segv", b"\x01netd-poison-spin"
NETD = "10.99.0.2"
ECHO, STREAM = 7500, 7501
PEER = os.environ["PEER"].split()
BULK = 50_000_000


def echo_server():
    """Runs on netd: echoes datagrams, and hashes one stream."""
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(("0.0.0.0", ECHO))
    l = socket.socket()
    l.bind(("0.0.0.0", STREAM))
    l.listen()
    if os.environ.get("ROLE") == "stream":
        return
    print("ready", flush=True)
    import select
    p = select.poll()
    p.register(u, select.POLLIN)
    p.register(l, select.POLLIN)
    conn, h = None, hashlib.sha256()
    while True:
        for fd, _ in p.poll():
            if fd == u.fileno():
                data, who = u.recvfrom(65536)
                u.sendto(data, who)
            elif fd == l.fileno():
                conn = l.accept()[0]
                p.register(conn, select.POLLIN)
            else:
                data = conn.recv(1 << 20)
                h.update(data)
                if not data:
                    p.unregister(conn)
                    print(h.hexdigest(), flush=True)


def say(payload, port, tries=1, timeout=5.0):
    """From the kernel's side: one datagram from a port of its own; the echo or nothing."""
    code = ("import socket,sys;u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);u.bind(('0.0.0.0',%d));u.settimeout(%f)\n"
            "for i in range(%d):\n"
            "  u.sendto(bytes.fromhex(sys.argv[1]),(%r,%d))\n"
            "  try: print(u.recv(65536).hex()); break\n"
            "  except socket.timeout: pass\n") % (port, timeout, tries, NETD, ECHO)
    out = subprocess.run(PEER + [sys.executable, "-c", code, payload.hex()], capture_output=True, text=True, check=True)
    return bytes.fromhex(out.stdout.strip()) if out.stdout.strip() else None


def netctl(*args):
    return json.loads(subprocess.run(["netctl", "--json", *args], capture_output=True, text=True, check=True).stdout)


def own_deaths(box):
    return [d for d in box["deaths"] if d["hung"] or d["signal"]]


failures = []


def check(what, true):
    print(f"{'ok' if true else 'FAILED'}: {what}")
    if not true:
        failures.append(what)


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def deaths_and_asides():
    box = netctl("blackbox")
    return len(own_deaths(box)), len([d for d in box["deaths"] if d["set_aside"]])


def frame(poison, port, name):
    before = deaths_and_asides()
    check(f"{name}: no echo of the poisoned frame", say(poison, port, timeout=1.0) is None)
    check(f"{name}: exactly two deaths, then set aside",
          wait_for(lambda: deaths_and_asides() == (before[0] + 2, before[1] + 1), 20))
    check(f"{name}: another flow is served", say(b"honest", port + 1, tries=5) == b"honest")
    check(f"{name}: the poisoned flow is dropped on sight, even with honest bytes", say(b"honest", port, timeout=0.5) is None)
    box = netctl("blackbox")
    mine = [a for a in box["set_aside"] if f":{port} > {NETD}:{ECHO}" in a["what"]]
    check(f"{name}: netctl blackbox shows the flow and counts what is dropped", bool(mine) and mine[0]["dropped"] >= 2)
    check(f"{name}: no death after that", deaths_and_asides() == (before[0] + 2, before[1] + 1))


def request():
    before = deaths_and_asides()
    code = ("import socket,sys;s=socket.socket()\n"
            "try:\n  s.setsockopt(socket.IPPROTO_TCP,socket.TCP_CONGESTION,%r)\n"
            "except OSError as e: print(e.strerror)\n") % SEGV[:15]
    code = code.replace(repr(SEGV[:15]), repr(SEGV))
    out = subprocess.run(["netctl", "run", "--", sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    check(f"request: the client is thrown out ({out.stdout.strip() or out.stderr.strip()[-60:]})", "Network is down" in out.stdout)
    check("request: exactly two deaths, then set aside", deaths_and_asides() == (before[0] + 2, before[1] + 1))


def local():
    before = deaths_and_asides()
    code = ("import socket\nu=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);u.bind(('127.0.0.1',7601))\nx=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);x.bind(('127.0.0.1',7600))\n"
            "v=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);v.settimeout(10)\n"
            "v.sendto(%r,('127.0.0.1',7600))\n"
            "w=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
            "u.settimeout(10)\nw.sendto(b'honest',('127.0.0.1',7601))\nprint(u.recv(100))\n") % SEGV
    out = subprocess.run(["netctl", "run", "--", sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    check(f"lo: the honest datagram arrives, the other does not ({out.stdout.strip()})", out.stdout.strip() == "b'honest'")
    check("lo: exactly two deaths, then set aside", deaths_and_asides() == (before[0] + 2, before[1] + 1))


def main():
    if os.environ.get("ROLE") == "server":
        return echo_server()
    server = subprocess.Popen(["netctl", "run", "--", sys.executable, os.path.abspath(__file__)], stdout=subprocess.PIPE,
                              text=True, env={**os.environ, "ROLE": "server"})
    try:
        assert server.stdout.readline() == "ready\n"
        # A stream that passes through all of it.
        code = ("import socket,hashlib,time\ns=socket.create_connection((%r,%d))\nh=hashlib.sha256()\n"
                "block=bytes(range(256))*400\nn=0\n"
                "while n<%d:\n  s.sendall(block); h.update(block); n+=len(block); time.sleep(0.02)\n"
                "s.close()\nprint(h.hexdigest())\n") % (NETD, STREAM, BULK)
        stream = subprocess.Popen(PEER + [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        check("an honest datagram is echoed", say(b"hello", 5000, tries=3) == b"hello")
        frame(SEGV, 5001, "a frame that crashes")
        frame(SPIN, 5011, "a frame that hangs")
        request()
        local()
        sent = stream.communicate(timeout=120)[0].strip()
        check("the stream beside it is exact", sent and sent == server.stdout.readline().strip())
        files = glob.glob(os.path.join(os.environ["NETD_LAB_DIR"], "**", "*aside.pcapng"), recursive=True)
        check(f"the frames are kept ({len(files)} files)", len(files) == 2 and any(SEGV in open(f, "rb").read() for f in files))
    finally:
        server.kill()
        server.wait()
    return 1 if failures else 0


sys.exit(main())
