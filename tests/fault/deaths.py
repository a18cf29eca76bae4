#!/usr/bin/env python3
"""Clients die by SIGKILL, many of them, some together with netd-inet. What they wrote arrives; nothing leaks.

   kernel: sink (counts what each client sent)  <---  netd: a process that forks children, each of
                                                      which connects, sends, and kills itself

Run inside tools/lab:  tools/lab -- tests/fault/deaths.py [--clients 1000]
"""
import argparse
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

HOST = os.environ.get("NETD_PEER_ADDR", "10.99.0.1")
PORT = 7400
FILL_CHUNKS = 512  # netd/device/layer.h
GROWTH_KIB = 1024  # of netd-inet's private memory, from the first fifth of the clients to the last


def sink(clients):
    l = socket.socket()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind(("0.0.0.0", PORT))
    l.listen(256)
    print("listening", flush=True)
    seen, wrong, lock = set(), [], threading.Lock()

    def one(conn):
        data, err = b"", None
        try:
            while True:
                b = conn.recv(1 << 16)
                if not b:
                    break
                data += b
        except OSError as e:
            err = str(e)
        with lock:
            if len(data) < 16:
                wrong.append(f"only {len(data)} bytes, {err}")
                return
            i, n = struct.unpack_from("!QQ", data)
            seen.add(i)
            if err or len(data) != 16 + n:
                wrong.append(f"client {i}: {len(data) - 16} of {n} bytes, {err}")

    threads = []
    l.settimeout(60)
    try:
        for _ in range(clients):
            t = threading.Thread(target=one, args=(l.accept()[0],))
            t.start()
            threads.append(t)
    except socket.timeout:
        wrong.append("fewer connections than clients")
    for t in threads:
        t.join(60)
    print(json.dumps({"seen": len(seen), "wrong": wrong[:10], "wrongs": len(wrong)}), flush=True)


def mortals(clients, seed):
    """Runs on netd. Each child is a client session of its own."""
    rng = random.Random(seed)
    for i in range(clients):
        n = rng.choice([0, 1, 100, 5000, 60000, 300000])
        child = os.fork()
        if child == 0:
            others = [socket.socket() for _ in range(rng.randrange(3))]  # die with it, in several states
            if others:
                others[0].bind(("0.0.0.0", 0))
                others[0].listen()
            u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            u.sendto(b"x", (HOST, 9))
            s = socket.create_connection((HOST, PORT))
            s.sendall(struct.pack("!QQ", i, n) + b"m" * n)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        if i % 50 == 49:
            print(i + 1, flush=True)


def pid_of(name):
    try:
        with open(os.path.join(os.environ["NETD_PIDFILE_DIR"], name)) as f:
            return int(f.read())
    except (OSError, ValueError):
        return 0


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def held_by(pid):
    """A process's descriptors, and how many client memories it has mapped."""
    with open(f"/proc/{pid}/maps") as f:
        return len(os.listdir(f"/proc/{pid}/fd")), sum("memfd:netd-client" in line for line in f)


def holdings():
    """What could leak: descriptors and mapped memories of daemon, standbys and supervisor; sessions, sockets, rings, chunks."""
    status = json.loads(subprocess.run(["netctl", "--json", "status"], capture_output=True, text=True, check=True).stdout)
    try:
        out = {"netd-inet": held_by(pid_of("inet.pid")), "supervisor": held_by(pid_of("supervisor.pid"))}
        out["standbys"] = sorted(held_by(c["pid"]) for c in status["components"] if c["name"].startswith("standby") and c["state"] == "standby")
    except FileNotFoundError:
        return None  # the file still names the one that was killed: the successor is taking over
    out["sessions"] = status.get("sessions")
    out["sockets"] = status.get("sockets")
    stats = json.loads(subprocess.run(["netctl", "--json", "stats", "held"], capture_output=True, text=True, check=True).stdout)
    for k in ("session", "sock", "tcp", "tcpx", "synrcv", "frag", "chunks_by_records", "ring_bytes"):
        out["held." + k] = stats["held." + k]
    # The fill ring is refilled in batches: never more chunks than it holds when all is quiet.
    out["too many chunks with drivers"] = stats["held.chunks_by_drivers"] > FILL_CHUNKS
    return out


def private_memory():
    """Anonymous KiB of netd-inet; None where a sanitizer keeps freed memory back."""
    pid = pid_of("inet.pid")
    with open(f"/proc/{pid}/maps") as f:
        if "libasan" in f.read():
            return None
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--clients", type=int, default=1000)
    ap.add_argument("--kill-inet-every", type=float, default=0.0, help="seconds; 0: never")
    ap.add_argument("--role")
    o = ap.parse_args()
    if o.role == "sink":
        return sink(o.clients)
    if o.role == "mortals":
        return mortals(o.clients, 1)
    me = [sys.executable, os.path.abspath(__file__), "--clients", str(o.clients), "--role"]
    before = holdings()
    server = subprocess.Popen(os.environ["PEER"].split() + me + ["sink"], stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline().strip() == "listening"
    parent = subprocess.Popen(["netctl", "run", "--"] + me + ["mortals"], stdout=subprocess.PIPE, text=True)
    kills, last, grown = 0, 0, 0
    if not o.kill_inet_every:  # the same process from beginning to end
        first = None
        for line in parent.stdout:
            if int(line) >= o.clients // 5 and first is None:
                first = private_memory()
        grown = private_memory() - first if first else 0
    while o.kill_inet_every and parent.poll() is None:
        time.sleep(o.kill_inet_every)
        p = pid_of("inet.pid")
        if p and p != last:
            os.kill(p, signal.SIGKILL)
            kills, last = kills + 1, p
    failed = parent.wait(600)
    result = json.loads(server.communicate(timeout=120)[0])
    same = wait_for(lambda: holdings() == before, 20)
    if grown > GROWTH_KIB:
        same = False
        print(f"deaths: netd-inet's private memory grew by {grown} KiB", file=sys.stderr)
    print(f"{o.clients} clients died ({kills} kills of netd-inet beside, {grown} KiB more private memory): {result['seen']} seen by the peer, {result['wrongs']} wrong; "
          f"holdings {'as before' if same else f'LEAKED: {before} -> {holdings()}'}")
    for w in result["wrong"]:
        print("deaths:", w, file=sys.stderr)
    return 1 if failed or result["wrongs"] or result["seen"] != o.clients or not same else 0


sys.exit(main())
