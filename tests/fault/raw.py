#!/usr/bin/env python3
"""Raw, ping and packet sockets go on while netd-inet is killed again and again.

   netd: ping, raw and packet socket ---- TAP ---- kernel: answers, and a packet socket that counts

Run inside tools/lab. Each message is with every reader exactly once and on the wire once (nothing else dies, so none is
lost either); then every socket is seen in netctl ss.
"""
import os
import signal
import subprocess
import sys
import time

from storm import Killer, finish, on_kernel, on_netd, wait_line

HOST = os.environ.get("NETD_PEER_ADDR", "10.99.0.1")
SECONDS, RATE = 8, 5


def main():
    wire = on_kernel("wire", "netd0")
    wait_line(wire, "listening")
    raw = on_netd("raw", HOST)
    killer = Killer("inet", os.environ["NETD_PIDFILE_DIR"] + "/inet.pid", RATE, time.monotonic() + SECONDS, "kill", 1)
    killer.start()
    killer.join()
    listed = subprocess.run(["netctl", "ss", "-a", "-w", "-0"], capture_output=True, text=True, check=True).stdout
    raw.send_signal(signal.SIGTERM)
    result = finish(raw, "raw", 70)
    wire.send_signal(signal.SIGTERM)
    there = finish(wire, "wire", 10)
    wrong = [r for r in (result, there) if not r.get("right")]
    wrong += [f"no {kind} socket in netctl ss" for kind in ("icmp", "raw", "p_dgr") if f"\n{kind} " not in listed]
    if there.get("seen") != result.get("asked"):
        wrong.append(f"{result.get('asked')} sent, {there.get('seen')} on the wire")
    if len(killer.kills) < 5:
        wrong.append(f"only {len(killer.kills)} kills")
    print(f"{result.get('asked')} messages, {len(killer.kills)} kills of netd-inet")
    for w in wrong:
        print("raw: wrong:", w, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
