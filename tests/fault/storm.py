#!/usr/bin/env python3
"""Kills components of netd at random under load and checks that nobody noticed but by the clock.

   kernel (peer)                          netd (app)
   fetch  <=== BYTES and more each way ==>  serve
   probe  <------- a byte, all the time -->  echo
                                             udp-send -> udp-recv   (two clients, inside netd)

   |--- calm: load, no kills ---|------------- storm: SECONDS of kills -------------|--- rest of BYTES ---|

Run inside tools/lab:  tools/lab -- tests/fault/storm.py [--seconds 20] [--rate 10] [--bytes 1000000000] [--calm 3]
  --victims inet,driver   whom to kill
  --how kill|stop|spin    SIGKILL, SIGSTOP, or a busy loop (hangs: the supervisor must find them; spin needs kill points)
The streams flow both ways during the whole storm, and until BYTES have gone each way.
Prints what happened: first what a round of the probe costs under the load alone, then for each victim what the probe
saw of its deaths, and what netd itself measured. Leaves with 0 only if every stream was exact and no connection lost.
"""
import argparse
import glob
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TRAFFIC = [sys.executable, os.path.join(HERE, "traffic.py")]
ADDR = os.environ.get("NETD_ADDR", "10.99.0.2")
LOG = os.path.join(os.environ.get("NETD_LAB_DIR", "."), "netd.log")


def on_netd(*args):
    return subprocess.Popen(["netctl", "run", "--"] + TRAFFIC + list(args), stdout=subprocess.PIPE, text=True)


def on_kernel(*args):
    return subprocess.Popen(os.environ["PEER"].split() + TRAFFIC + list(args), stdout=subprocess.PIPE, text=True)


def wait_line(p, line):
    if p.stdout.readline().strip() != line:
        sys.exit(f"storm: {' '.join(p.args)} did not start")


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


def netds_own(name, log):
    """Milliseconds of each pause of this victim as the supervisor logged them: from the death's discovery to the first word."""
    who = "netd-inet" if name == "inet" else "driver \\S+"
    return sorted(int(us) / 1000 for us in re.findall(rf"{who} \(pid \d+\) is active after a pause of (\d+) us", log))


def spread(v, unit="ms"):
    return f"p50 {percentile(v, 50):7.2f}  p99 {percentile(v, 99):7.2f}  max {v[-1] if v else 0:7.2f} {unit}"


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
    ap.add_argument("--calm", type=float, default=3)
    ap.add_argument("--bytes", type=int, default=1000000000)
    ap.add_argument("--victims", default="inet,driver")
    ap.add_argument("--how", choices=["kill", "stop", "spin"], default="kill")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--udp", type=int, default=20000)
    ap.add_argument("--json", action="store_true")
    o = ap.parse_args()
    pids = os.environ["NETD_PIDFILE_DIR"]
    limit = o.calm + o.seconds + 40

    procs = {}
    if o.bytes:
        procs["serve"] = on_netd("serve", "7000", str(o.bytes))
        wait_line(procs["serve"], "listening")
    procs["echo"] = on_netd("echo", "7001")
    wait_line(procs["echo"], "listening")
    if o.udp:
        procs["udp-recv"] = on_netd("udp-recv", "7002", str(o.udp))
        wait_line(procs["udp-recv"], "listening")
        procs["udp-send"] = on_netd("udp-send", ADDR, "7002", str(o.udp), str(o.calm + o.seconds))
    if o.bytes:
        procs["fetch"] = on_kernel("fetch", ADDR, "7000", str(o.bytes))
    procs["probe"] = on_kernel("probe", ADDR, "7001", str(o.calm + o.seconds + 1), str(o.calm))
    wait_line(procs["probe"], "probing")
    time.sleep(o.calm)

    logged = os.path.getsize(LOG)
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
    time.sleep(max(0, end - time.monotonic()))
    early = [name for name in ("serve", "fetch") if o.bytes and procs[name].poll() is not None]
    for name in ("serve", "fetch"):
        if o.bytes:
            procs[name].terminate()  # no more than BYTES from now on

    # The probe first: it says more than a pipe holds, and the echo server ends after it.
    results = {name: finish(procs[name], name, max(1, end + limit - time.monotonic())) for name in sorted(procs, key=lambda n: n != "probe")}
    box = json.loads(subprocess.run(["netctl", "--json", "blackbox"], capture_output=True, text=True, check=True).stdout)
    blamed = [d for d in box["deaths"] if d["set_aside"] or (d["hung"] and o.how != "spin")]
    if blamed:
        results["blackbox"] = {"end": "blackbox", "right": False, "blamed though innocent": blamed}
    for k in killers:
        if not k.kills:  # else a storm that never was would pass
            results[f"kills of {k.name}"] = {"end": f"kills of {k.name}", "right": False, "not one": "spin needs a build with kill points" if o.how == "spin" else o.how}
    if o.bytes:
        compare_ends(results["serve"], results["fetch"], o.bytes, early)
    with open(LOG) as f:
        f.seek(logged)
        log = f.read()
    return report(o, killers, results, log)


def compare_ends(serve, fetch, least, early):
    """What one end sent is what the other got: bytes and SHA-256, both ways; the streams lasted for the whole storm."""
    for a, b in ((serve, fetch), (fetch, serve)):
        a["exact"] = (a.get("right", False) and b.get("right", False) and a.get("sent", 0) >= least
                      and a["sent"] == b.get("got") and a["sha256_sent"] == b.get("sha256_got"))
        if not a["exact"] or early:
            a["right"] = False
    if early:
        serve["early"] = early


def report(o, killers, results, log):
    probe = results["probe"]
    slow = probe.get("slow", [])
    wrong = [r for r in results.values() if not r.get("right")]
    if o.json:
        print(json.dumps({"kills": {k.name: len(k.kills) for k in killers},
                          "calm_ms": probe.get("calm_ms"),
                          "pauses_ms": {k.name: pauses_of(k.kills, slow) for k in killers},
                          "netds_own_ms": {k.name: netds_own(k.name, log) for k in killers}, "wrong": wrong}))
    print(f"calm        a round of the probe under load, no kills      {spread(sorted(probe.get('calm_ms', [])))}"
          f"   ({len(probe.get('calm_ms', []))} rounds)")
    for k in killers:
        own = netds_own(k.name, log)
        print(f"{k.name:8} {len(k.kills):4} {'kills' if o.how == 'kill' else 'hangs'}   the probe waited from the kill on  {spread(pauses_of(k.kills, slow))}")
        print(f"{'':8} {len(own):4} pauses  as netd measured them            {spread(own)}")
    if o.bytes:
        s, f = results["serve"], results["fetch"]
        print(f"streams  {f.get('got', 0) / 1e9:.2f} GB to the kernel's side, {s.get('got', 0) / 1e9:.2f} GB from it in {f.get('seconds', 0):.1f} s: "
              f"{'both SHA-256 equal' if s['exact'] and f['exact'] else 'WRONG'}, longest standstill "
              f"{1000 * max(s.get('standstill', 0), f.get('standstill', 0)):.1f} ms")
    if o.udp:
        u = results["udp-recv"]
        print(f"udp      {o.udp} datagrams: {u.get('lost')} lost, {u.get('doubled')} doubled")
    print(f"probe    {probe.get('rounds')} rounds, connection {'kept' if probe.get('right') else 'LOST'}")
    for r in wrong:
        print("storm: wrong:", {k: v for k, v in r.items() if k not in ("slow", "calm_ms")}, file=sys.stderr)
    if wrong:
        print(subprocess.run(["netctl", "ss", "-a", "-i"], capture_output=True, text=True).stdout, *log.splitlines()[-30:], sep="\n", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
