#!/usr/bin/env python3
"""netd-inet dies at every kill point there is, under traffic; nobody may notice.

Run inside a lab whose netd-inet has kill points:  NETD_LIBEXEC=build/netd/killpoints tools/lab -- tests/fault/killpoints.py
Every point that the binary knows is armed in turn (none can be forgotten: the linker made the list), with a few
different countdowns. Beside it run: a byte stream both ways, short connections in both directions, pings, a multicast
group, processes that fork and pass sockets on.
A point that is not passed within the time is reported: it needs traffic of its own.
"""
import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

from storm import ADDR, finish, on_kernel, on_netd, pid_of, wait_line

# Passed only when a takeover or a client's arrival runs: such an event is provoked after arming.
PROVOKED_BY_DEATH = ("takeover.", "recover.", "socket.reindex.", "socket.handed")
# Recovery's answer to an escrow that lost something; no single death leads there (tests/unit/session_test.c does).
UNREACHABLE = {"socket.reindex.lost"}
PIDFILE = os.environ["NETD_PIDFILE_DIR"] + "/inet.pid"
HOST = os.environ.get("NETD_PEER_ADDR", "10.99.0.1")


def netctl(*args):
    r = subprocess.run(["netctl", *args], capture_output=True, text=True, timeout=60)
    if r.returncode:
        sys.exit(f"killpoints: netctl {' '.join(args)}: {r.stderr.strip()}")
    return r.stdout


def points():
    return sorted(set(line.split()[0] for line in netctl("killpoint").splitlines() if line.strip()))


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.002)
    return False


def start_traffic():
    p = {}
    for name, args in (("flow-serve", ("flow-serve", "7000")), ("hello-serve", ("hello-serve", "7001"))):
        p[name] = on_netd(*args)
        wait_line(p[name], "listening")
    p["out-serve"] = on_kernel("hello-serve", "7003")
    wait_line(p["out-serve"], "listening")
    p["flow"] = on_kernel("flow", ADDR, "7000")
    p["hello"] = on_kernel("hello", ADDR, "7001")
    p["out"] = on_netd("hello", HOST, "7003")
    p["inside"] = on_netd("hello", ADDR, "7001")
    p["raw"] = on_netd("raw", HOST)
    p["group"] = on_netd("group", ADDR)
    return p


class Processes(threading.Thread):
    """Forks, execs, passes sockets on, all the time (tests/apps/test_process); every run must end well."""

    def __init__(self):
        super().__init__(daemon=True)
        build = os.environ.get("NETD_BUILD", os.path.join(os.path.dirname(__file__), "../../build"))
        self.command = ["netctl", "run", "--", os.path.join(build, "tests/apps/test_process"), "tcp", ADDR]
        self.stop, self.runs, self.wrong = False, 0, []

    def run(self):
        while not self.stop:
            p = subprocess.run(self.command, capture_output=True, text=True)
            self.runs += 1
            if p.returncode:
                self.wrong.append((p.stdout + p.stderr)[-2000:])
                return


def provoke():
    """A short-lived client: attaches, makes sockets, dies."""
    subprocess.run(["netctl", "run", "--", sys.executable, "-c",
                    "import socket,os,select\n"
                    "s=socket.socket(); s.bind(('0.0.0.0',0)); s.listen()\n"
                    "e=[select.epoll() for _ in range(3)]\n"
                    "[x.register(s.fileno()) for x in e]; [x.poll(0.001) for x in e]\n"
                    "os._exit(0)"], timeout=60)


def deaths():
    """How many netd-inet have died so far."""
    status = json.loads(netctl("--json", "status"))
    return sum(c["restarts"] for c in status["components"] if c["name"] == "netd-inet")


def kill_inet():
    while True:
        try:
            os.kill(pid_of(PIDFILE), signal.SIGKILL)
            return
        except (ProcessLookupError, TypeError):
            time.sleep(0.002)  # it is being replaced


def pass_point(name, count):
    """Arms the point and brings netd-inet to it. True if it died there."""
    before = deaths()
    if name == "recover.scrub":
        # Torn work is what a death in the middle of a commit leaves behind.
        netctl("killpoint", "commit.image.crc+" + name, str(count))
        return wait_for(lambda: deaths() >= before + 2, 5)
    netctl("killpoint", name, str(count))
    if name.startswith(PROVOKED_BY_DEATH):
        for ours in range(1, 20):  # one death each is ours, the last one the point's
            kill_inet()
            if wait_for(lambda: deaths() > before + ours, 0.2):
                return True
        return False
    if wait_for(lambda: deaths() > before, 0.4):
        return True
    for _ in range(12):
        provoke()
        if wait_for(lambda: deaths() > before, 0.2):
            return True
    return False


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--only", default="")
    ap.add_argument("--countdowns", default="1,3")
    ap.add_argument("--seed", type=int, default=1)
    o = ap.parse_args()
    rng = random.Random(o.seed)
    names = [n for n in points() if o.only in n and n not in UNREACHABLE]
    if not names:
        sys.exit("killpoints: this netd-inet has none")
    traffic, processes = start_traffic(), Processes()
    processes.start()
    missed, kills = [], 0
    for name in names:
        for count in (int(c) for c in o.countdowns.split(",")):
            hit = pass_point(name, count + (rng.randrange(5) if count > 1 else 0))
            kills += hit
            if not hit:
                missed.append(f"{name}/{count}")
            for who, p in traffic.items():
                if p.poll() is not None:
                    print(f"killpoints: {who} ended after {name}/{count}: {finish(p, who, 1)}", file=sys.stderr)
                    return 1
        print(f"  {name}", flush=True)
    processes.stop = True
    processes.join(120)
    asking = ("hello", "out", "inside", "raw", "group", "flow")
    for who in asking:
        traffic[who].send_signal(signal.SIGTERM)
    results = {who: finish(traffic[who], who, 60) for who in asking + ("flow-serve",)}
    for who in ("hello-serve", "out-serve"):
        traffic[who].send_signal(signal.SIGTERM)
        results[who] = finish(traffic[who], who, 60)
    wrong = [r for r in results.values() if not r.get("right")]
    wrong += processes.wrong
    if processes.is_alive() or not processes.runs:
        wrong.append("test_process did not end")
    f, s = results["flow"], results["flow-serve"]
    if f.get("sent") != s.get("got") or f.get("got") != s.get("sent"):
        wrong.append({"end": "totals", "flow": f, "serve": s})
    print(f"{len(names)} kill points, {kills} deaths, {len(missed)} not passed: {' '.join(missed)}")
    print(f"stream {f.get('sent')} bytes in, {f.get('got')} out; short connections {results['hello'].get('asked')} in, {results['out'].get('asked')} out; {processes.runs} rounds of forking")
    for r in wrong:
        print("killpoints: wrong:", r, file=sys.stderr)
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(main())
