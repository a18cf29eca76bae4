#!/usr/bin/env python3
"""Kills components of netd at random under load and checks that nobody noticed but by the clock.

   kernel (peer)                          netd (app)
   fetch  <======= BYTES each way =======>  serve
   probe  <------- a byte, all the time -->  echo
                                             udp-send -> udp-recv   (two clients, inside netd)

Run inside tools/lab:  tools/lab -- tests/fault/storm.py [--seconds 20] [--rate 10] [--bytes 1000000000]
  --victims inet,driver   whom to kill
  --how kill|stop|spin    SIGKILL, SIGSTOP, or a busy loop (hangs: the supervisor must find them; spin needs kill points)
Prints what happened; leaves with 0 only if every stream was exact and no connection was lost.
"""
import argparse
import glob
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TRAFFIC = [sys.executable, os.path.join(HERE, "traffic.py")]
ADDR = os.environ.get("NETD_ADDR", "10.99.0.2")


def on_netd(*args):
    return subprocess.Popen(["netctl", "run", "--"] + TRAFFIC + list(args), stdout=subprocess.PIPE, text=True)


def on_kernel(*args):
    return subprocess.Popen(os.environ["PEER"].split() + TRAFFIC + list(args), stdout=subprocess.PIPE, text=True)


def wait_listening(p, what):
    if p.stdout.readline().strip() != "listening":
        sys.exit(f"storm: {what} did not start")


def pid_of(path):
    try:
        with open(path) as f:
            return int(f.read())
    except (OSError, ValueError):
        return None


class Killer(threading.Thread):
    def __init__(self, name, path, rate, end, how, seed):
        super().__init__(daemon=True)
        self.name, self.path, self.rate, self.end, self.how = name, path, rate, end, how
        self.random = random.Random(seed)
        self.kills, self.last = [], None

    def run(self):
        while True:
            pause = self.random.expovariate(self.rate)
            if time.monotonic() + pause > self.end:
                return
            time.sleep(pause)
            pid = pid_of(self.path)
            if pid is None or pid == self.last:
                continue  # the successor has not taken over yet
            try:
                now = time.monotonic()
                if self.how == "spin":  # the successor must not find the point armed: one passage, then the death clears it
                    subprocess.run(["netctl", "killpoint", "!cycle.gather", "1"], check=True)
                    now = time.monotonic()
                else:
                    os.kill(pid, signal.SIGSTOP if self.how == "stop" else signal.SIGKILL)
                self.kills.append(now)
                self.last = pid
            except ProcessLookupError:
                pass


def percentile(v, p):
    return v[min(len(v) - 1, int(len(v) * p / 100))] if v else 0.0


def pauses_of(kills, slow):
    """The rounds of the probe during which this victim died."""
    out = []
    for k in kills:
        hit = [t1 - max(t0, k) for t0, t1 in slow if t0 - 0.001 <= k + 0.002 and t1 > k and t0 < k + 0.002]
        out.append(max(hit) * 1000 if hit else 1.0)
    return sorted(out)


def finish(p, what, timeout):
    try:
        out, _ = p.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        p.kill()
        return {"end": what, "right": False, "failure": ["did not end"]}
    for line in reversed(out.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    return {"end": what, "right": p.returncode == 0}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seconds", type=float, default=20)
    ap.add_argument("--rate", type=float, default=10)
    ap.add_argument("--bytes", type=int, default=1000000000)
    ap.add_argument("--victims", default="inet,driver")
    ap.add_argument("--how", choices=["kill", "stop", "spin"], default="kill")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--udp", type=int, default=20000)
    ap.add_argument("--json", action="store_true")
    o = ap.parse_args()
    pids = os.environ["NETD_PIDFILE_DIR"]
    limit = o.seconds + 120

    procs = {}
    if o.bytes:
        procs["serve"] = on_netd("serve", "7000", str(o.bytes))
        wait_listening(procs["serve"], "the server")
    procs["echo"] = on_netd("echo", "7001")
    wait_listening(procs["echo"], "the echo server")
    if o.udp:
        procs["udp-recv"] = on_netd("udp-recv", "7002", str(o.udp))
        wait_listening(procs["udp-recv"], "the datagram receiver")
        procs["udp-send"] = on_netd("udp-send", ADDR, "7002", str(o.udp), str(o.seconds))
    if o.bytes:
        procs["fetch"] = on_kernel("fetch", ADDR, "7000", str(o.bytes))
    procs["probe"] = on_kernel("probe", ADDR, "7001", str(o.seconds + 1))

    end = time.monotonic() + o.seconds
    killers = []
    for n, victim in enumerate(v for v in o.victims.split(",") if v):
        paths = [f"{pids}/inet.pid"] if victim == "inet" else glob.glob(f"{pids}/driver-*.pid")
        for path in paths:
            killers.append(Killer(victim, path, o.rate, end, o.how, o.seed * 100 + n))
    for k in killers:
        k.start()
    for k in killers:
        k.join()

    results = {name: finish(p, name, max(1, end + limit - time.monotonic())) for name, p in procs.items()}
    slow = results["probe"].get("slow", [])
    wrong = [r for r in results.values() if not r.get("right")]
    if o.json:
        print(json.dumps({"kills": {k.name: len(k.kills) for k in killers},
                          "pauses_ms": {k.name: pauses_of(k.kills, slow) for k in killers}, "wrong": wrong}))
    for k in killers:
        p = pauses_of(k.kills, slow)
        print(f"{k.name:8} {len(k.kills):4} {'kills' if o.how == 'kill' else 'hangs'}   pause ms: p50 {percentile(p, 50):.2f}  "
              f"p99 {percentile(p, 99):.2f}  max {p[-1] if p else 0:.2f}")
    if o.bytes:
        f = results["fetch"]
        print(f"streams  {o.bytes} bytes each way in {f.get('seconds', 0)} s: "
              f"{'both exact' if results['serve'].get('right') and f.get('right') else 'WRONG'}")
    if o.udp:
        u = results["udp-recv"]
        print(f"udp      {o.udp} datagrams: {u.get('lost')} lost, {u.get('doubled')} doubled")
    print(f"probe    {results['probe'].get('rounds')} rounds, connection {'kept' if results['probe'].get('right') else 'LOST'}")
    for r in wrong:
        print("storm: wrong:", {k: v for k, v in r.items() if k != "slow"}, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
