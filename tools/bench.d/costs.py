"""What only netd has: the price of a commit, an idle connection, a death, doing nothing."""
import json
import os
import signal
import statistics
import subprocess
import sys
import time

from rates import LOAD, load
from sides import BUILD, ROOT, Netd, sh, start, stop


def pid_files():
    return [n for n in os.listdir(os.environ["NETD_PIDFILE_DIR"]) if n.endswith(".pid")]


def pid_of(name):
    with open(os.path.join(os.environ["NETD_PIDFILE_DIR"], name)) as f:
        return int(f.read())


def cpu_ns(pid):
    """Time on a processor; ticks would be too coarse for what sleeps nearly always."""
    with open(f"/proc/{pid}/schedstat") as f:
        return int(f.read().split()[0])


def idle_cpu(seconds):
    pids = [pid_of(n) for n in pid_files()]
    before = sum(cpu_ns(p) for p in pids)
    time.sleep(seconds)
    used = sum(cpu_ns(p) for p in pids) - before
    return 100.0 * used / 1e9 / seconds


def memory_of(pid):
    """Bytes a process costs: its private memory and page tables, and its part of what it shares."""
    total = 0
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmPTE:"):
                total += int(line.split()[1])
    return total * 1024


def everybody(server):
    pids = {server.pid} | {pid_of(n) for n in pid_files()}
    for c in json.loads(sh("netctl", "--json", "status")).get("components", []):
        if c.get("pid", 0) > 0:
            pids.add(c["pid"])
    return sum(memory_of(p) for p in pids)


def idle_connections(n):
    """Memory of n connections in daemon, standby, driver and server together, per connection.

    What n more of them take beside those that are there: the device's chunks and the request rings are the same few
    megabytes for any number.
    """
    side = Netd()
    server = start(side.under + [LOAD, "serve", "7300"], "listening")
    holders = []
    try:
        holders.append(start(side.peer + [LOAD, "hold", side.addr, "7300", str(n // 4)], "holding"))
        time.sleep(1)
        before = everybody(server)
        holders.append(start(side.peer + [LOAD, "hold", side.addr, "7300", str(n)], "holding"))
        time.sleep(1)
        return (everybody(server) - before) / n
    finally:
        for h in holders:
            stop(h)
        stop(server)


def own_pause():
    """Of the last death of netd-inet, as netd measured it, in seconds."""
    for c in json.loads(sh("netctl", "--json", "status")).get("components", []):
        if c["name"] == "netd-inet":
            return c["pause_last_us"] / 1e6
    raise SystemExit("bench: netctl status names no netd-inet")


def pauses(n, kills):
    """Length of the pause when netd-inet is killed with n connections there, in ms, sorted: as a connection sees it from
    the peer's side (a byte there and back all the time; the round that the kill falls into), and as netd measures it
    (from the death to the end of the takeover)."""
    side = Netd()
    server = start(side.under + [LOAD, "serve", "7300"], "listening")
    holder = start(side.peer + [LOAD, "hold", side.addr, "7300", str(n)], "holding")
    traffic = os.path.join(ROOT, "tests", "fault", "traffic.py")
    probe = start(side.peer + [sys.executable, traffic, "probe", side.addr, "7300", str(kills * 0.3 + 1)])
    at, own = [], []
    time.sleep(0.5)
    for _ in range(kills):
        pid = pid_of("inet.pid")
        at.append(time.monotonic())
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.25)
        own.append(own_pause() * 1000)
    out = json.loads(probe.communicate()[0].splitlines()[-1])
    stop(holder)
    stop(server)
    slow = [(a, b) for a, b in out["slow"]]
    seen = [max([b - k for a, b in slow if a < k + 0.002 and b > k] or [0.001]) * 1000 for k in at]
    return sorted(seen), sorted(own)


def commit_overhead(quick, bench):
    """What commits cost: runs in pairs, with commits compiled in and out, each time the other one first, each in a lab of
    its own; `bench` is the program to run in it. A pair lies within seconds, so the machine's mood is the same for both
    of it, and the median over the pairs is what counts. Two ratios: requests a second (with every
    processor busy: the price in the whole path), and netd-inet's time on a processor for a request (its price there; the
    time in which it looks for work is part of it)."""
    seen = []
    for i in range(3 if quick else 9):
        pair = {}
        for name in (".", "nocommit") if i % 2 == 0 else ("nocommit", "."):
            env = dict(os.environ, NETD_LIBEXEC=os.path.join(BUILD, "netd", name))
            out = subprocess.run([os.path.join(ROOT, "tools", "lab"), "--", sys.executable, bench, "--one-rate", "1" if quick else "2"],
                                 env=env, check=True, capture_output=True, text=True).stdout
            pair[name] = json.loads(out.splitlines()[-1])
        seen.append(pair)
    return seen


def one_rate(seconds):
    """Requests a second, and netd-inet's time on a processor for one in microseconds."""
    pid = pid_of("inet.pid")
    before = cpu_ns(pid)
    rate = load(Netd(), seconds, "ask", "64")
    return {"rate": rate, "cpu_us": (cpu_ns(pid) - before) / 1e3 / (rate * seconds)}
