#!/usr/bin/env python3
"""The supervisor is killed, and no systemd keeps its descriptors: started again by hand it takes over, and nobody notices.

   kernel (peer)                      netd (app)
   flow   <=== bytes both ways ===>  flow-serve      checked as they come
   hello  ---- connections ------->  hello-serve     one after the other
   idle   <---- one each --------->  echo            begun in each state of netd, silent until the end

In turn: all stopped for a while, and only the supervisor, with netd-inet killed meanwhile; supervisor killed; netd-inet killed while there is none; started again; netd-inet killed, alone and with all
standbys; supervisor, driver and netd-inet killed in the same instant, two of them or all, in any order; supervisors killed at any moment of their start.
Run inside tools/lab.
"""
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TRAFFIC = [sys.executable, os.path.join(HERE, "traffic.py")]
ADDR = os.environ.get("NETD_ADDR", "10.99.0.2")
PORT = 7500
PATIENCE = 60


def fail(text):
    sys.exit(f"succession: {text}")


def until(what, condition):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        got = condition()
        if got:
            return got
        time.sleep(0.01)
    fail(f"not within {PATIENCE} s: {what}")


def pid_of(name):
    try:
        with open(os.path.join(os.environ["NETD_PIDFILE_DIR"], name + ".pid")) as f:
            return int(f.read())
    except (OSError, ValueError):
        return 0


def status():
    r = subprocess.run(["netctl", "--json", "status"], capture_output=True, text=True)
    return json.loads(r.stdout) if r.returncode == 0 else None


def pids(st, name):
    return {c["pid"] for c in st["components"] if c["name"].startswith(name)}


def on_netd(*args):
    p = subprocess.Popen(["netctl", "run", "--"] + TRAFFIC + list(args), stdout=subprocess.PIPE, text=True)
    if p.stdout.readline().strip() != "listening":
        fail(f"{args} did not start")
    return p


def on_kernel(*command):
    return subprocess.Popen(os.environ["PEER"].split() + list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def idle(port):
    """Runs on the kernel's side: connected, silent until it is told to speak."""
    conn = socket.create_connection((ADDR, port))
    print("connected", flush=True)
    sys.stdin.readline()
    conn.sendall(b"x")
    return 0 if conn.recv(1) == b"x" else 1


class Idle:
    """A session and a connection, begun now."""

    def __init__(self, port):
        self.server = on_netd("echo", str(port))
        self.client = on_kernel(sys.executable, os.path.abspath(__file__), "idle", str(port))
        if self.client.stdout.readline().strip() != "connected":
            fail(f"no connection to port {port}")

    def lives(self):
        self.client.communicate("speak\n", timeout=PATIENCE)
        return self.client.returncode == 0 and self.server.wait(PATIENCE) == 0


class Netd:
    """The supervisors that we start by hand."""

    def __init__(self):
        self.log = open(os.path.join(os.environ["NETD_LAB_DIR"], "succession.log"), "w+")

    def start(self):
        return subprocess.Popen(os.environ["PEER"].split() + [os.path.join(os.environ["NETD_BUILD"], "netd/netd"), "--config",
                                os.path.join(os.environ["NETD_LAB_DIR"], "netd.yaml")], stdin=subprocess.DEVNULL, stderr=self.log)

    def started(self, p):
        """In office, and every role has somebody in it."""
        until("the new supervisor's pid file", lambda: p.poll() is not None or pid_of("supervisor") == p.pid)
        if p.poll() is not None:
            fail(f"a new supervisor left with status {p.returncode}:\n{self.said()[-2000:]}")
        return until("all components run", self.complete)

    @staticmethod
    def complete():
        st = status()
        states = sorted(c["state"] for c in st["components"]) if st else []
        right = states == ["running"] * 2 + ["standby"] * 3 and pid_of("inet") in pids(st, "netd-inet")
        return st if right else None

    def said(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()


def kill_supervisor():
    """Whoever is its parent reaps it; here only its death counts, which the pidfd tells."""
    fd = os.pidfd_open(pid_of("supervisor"))
    signal.pidfd_send_signal(fd, signal.SIGKILL)
    return fd


def stop_everybody(rng):
    """A machine that is suspended, a frozen cgroup: for longer than a hang may last. Nobody is replaced. The supervisor goes on
    last, for who is stopped when it looks hangs."""
    before = until("all components run", Netd.complete)
    components = [c["pid"] for c in before["components"]]
    for _ in range(3):
        for pid in components + [pid_of("supervisor")]:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(1)
        rng.shuffle(components)
        for pid in components + [pid_of("supervisor")]:
            os.kill(pid, signal.SIGCONT)
    after = until("all components run again", Netd.complete)
    if pids(before, "") != pids(after, ""):
        fail(f"one that was stopped with all others was replaced: {before} -> {after}")


def stop_supervisor():
    """Nobody takes its place while it lives; everybody waits for it."""
    incarnation = until("netd answers", status)["incarnation"]
    supervisor = pid_of("supervisor")
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(pid_of("inet"), signal.SIGKILL)
    time.sleep(0.5)
    os.kill(supervisor, signal.SIGCONT)
    until("netd-inet is replaced", lambda: Netd.complete() and status()["incarnation"] == incarnation + 1)


def play(netd, idles):
    before = Netd.complete()
    first = pid_of("inet")
    os.close(kill_supervisor())
    idles.append(Idle(PORT + 10))
    incarnation = status()["incarnation"]
    os.kill(first, signal.SIGKILL)
    idles.append(Idle(PORT + 11))
    until("a standby takes over without a supervisor", lambda: status()["incarnation"] == incarnation + 1)

    p = netd.start()
    after = netd.started(p)
    if pids(after, "driver") != pids(before, "driver"):
        fail("the driver was replaced")
    if not pids(before, "standby") <= pids(after, ""):
        fail(f"a living netd-inet was replaced: {before} -> {after}")
    second = netd.start()
    if second.wait(PATIENCE) != 1 or f"is served by another netd (pid {p.pid})" not in netd.said():
        fail("two supervisors at once, or no word about it")
    idles.append(Idle(PORT + 12))

    os.kill(pid_of("inet"), signal.SIGKILL)
    until("netd-inet is replaced after the succession", lambda: netd.complete() and status()["incarnation"] == incarnation + 2)
    idles.append(Idle(PORT + 13))

    everybody = pids(netd.complete(), "netd-inet") | pids(netd.complete(), "standby")
    for pid in everybody:
        os.kill(pid, signal.SIGKILL)
    until("all of netd-inet is replaced", lambda: (st := netd.complete()) and not everybody & pids(st, ""))
    idles.append(Idle(PORT + 14))
    return p


def tap():
    """The number of the kernel's end: another one after it was made anew."""
    r = subprocess.run(os.environ["PEER"].split() + ["cat", "/sys/class/net/netd0/ifindex"], capture_output=True, text=True)
    return r.stdout.strip()


def torture(netd, idles, p, rng):
    """Several in the same instant, and then supervisors that get nowhere."""
    interface = tap()
    orders = [o for n in (2, 3) for o in itertools.permutations(["supervisor", "inet", "driver-tap0"], n) if "supervisor" in o]
    for i, victims in enumerate(orders):
        incarnation = until("netd answers", status)["incarnation"]
        for pid in [pid_of(v) for v in victims]:
            os.kill(pid, signal.SIGKILL)
        p.wait()
        if "driver-tap0" not in victims:
            idles.append(Idle(PORT + 20 + i))
        if "inet" in victims:
            until("a standby takes over", lambda: status()["incarnation"] == incarnation + 1)
        if tap() != interface:
            fail(f"the interface is gone after the deaths of {victims}")
        for _ in range(4):
            short = netd.start()
            time.sleep(rng.random() * 0.05)  # any moment of its start
            short.kill()
            short.wait()
        p = netd.start()
        netd.started(p)
        if tap() != interface:
            fail(f"the interface was made anew after the deaths of {victims}")
    return p


def main():
    if sys.argv[1:2] == ["idle"]:
        return idle(int(sys.argv[2]))
    netd, idles = Netd(), []
    servers = {"flow-serve": on_netd("flow-serve", str(PORT)), "hello-serve": on_netd("hello-serve", str(PORT + 1))}
    clients = {"flow": on_kernel(*TRAFFIC, "flow", ADDR, str(PORT)), "hello": on_kernel(*TRAFFIC, "hello", ADDR, str(PORT + 1))}
    idles.append(Idle(PORT + 2))
    rng = random.Random(1)
    stop_everybody(rng)
    stop_supervisor()
    p = play(netd, idles)
    torture(netd, idles, p, rng)
    ends = {}
    for name, proc in list(clients.items()) + list(servers.items()):
        if name != "flow-serve":  # ends after its client
            proc.terminate()
        ends[name] = json.loads(proc.communicate(timeout=PATIENCE)[0].splitlines()[-1])
    living = [i.lives() for i in idles]
    until("nothing is left of it", lambda: status()["sessions"] == 0)
    wrong = [e for e in ends.values() if not e["right"]]
    if ends["flow-serve"]["got"] != ends["flow"]["sent"] or ends["flow"]["got"] != ends["flow-serve"]["sent"]:
        wrong.append("bytes are missing at an end")
    print(f"{ends['flow']['sent']} bytes to netd, {ends['flow']['got']} from it, {ends['hello']['asked']} short connections, "
          f"{living.count(True)} of {len(living)} idle ones live: {'WRONG' if wrong or not all(living) else 'nobody noticed'}")
    for w in wrong:
        print("succession:", w, file=sys.stderr)
    if wrong or not all(living):
        print(netd.said()[-3000:], file=sys.stderr)
    return 1 if wrong or not all(living) else 0


sys.exit(main())
