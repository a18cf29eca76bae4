#!/usr/bin/env python3
"""Connections in every state there is, a kill of netd-inet, and each goes on as if nothing had happened.

   kernel (puppet, 10.99.0.1) ---- TAP ---- netd (puppet, 10.99.0.2)

Run inside tools/lab. Loss and held-back segments are made by nftables rules in the kernel's namespace.
"""
import json
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ADDR = os.environ.get("NETD_ADDR", "10.99.0.2")
PEER = os.environ["PEER"].split()
PIDFILE = os.environ["NETD_PIDFILE_DIR"] + "/inet.pid"


class Puppet:
    def __init__(self, prefix):
        self.p = subprocess.Popen(prefix + [sys.executable, os.path.join(HERE, "puppet.py")],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, op, **kw):
        self.tell(op, **kw)
        return self.answer(op)

    def tell(self, op, **kw):
        self.p.stdin.write(json.dumps(dict(op=op, **kw)) + "\n")
        self.p.stdin.flush()

    def answer(self, op="?"):
        line = self.p.stdout.readline()
        if not line:
            raise AssertionError(f"the program ended during {op}")
        r = json.loads(line)
        assert r.pop("ok"), f"{op}: {r['error']}"
        return r

    def end(self):
        self.p.stdin.close()
        self.p.wait(10)


def pid():
    try:
        with open(PIDFILE) as f:
            return int(f.read())
    except (OSError, ValueError):
        return 0


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.003)
    return False


def kill():
    old = pid()
    os.kill(old, signal.SIGKILL)
    assert wait_for(lambda: pid() not in (0, old)), "no successor took over"


def nft(*rules):
    text = "flush ruleset\n"
    if rules:
        for chain, hook in (("out", "output"), ("in", "input")):
            body = "".join(f"  {r}\n" for d, r in rules if d == chain)
            text += f"table ip t {{\n chain {chain} {{\n  type filter hook {hook} priority 0;\n{body} }}\n}}\n"
    subprocess.run(PEER + ["nft", "-f", "-"], input=text, text=True, check=True)


def ss_states(port):
    out = subprocess.run(["netctl", "ss", "-a", "-n"], capture_output=True, text=True, check=True).stdout
    return [line.split()[1] if line.split()[0] in ("tcp", "udp") else line.split()[0] for line in out.splitlines() if f":{port}" in line]


def pair(n, k, port):
    """An established connection, accepted: 'c' on the kernel's side, 's' on netd's."""
    n.ask("listen", id="l", port=port)
    k.ask("connect", id="c", host=ADDR, port=port)
    n.ask("accept", id="l", child="s")


def exchange(a, aid, b, bid, size=300000):
    for x, xid, y, yid, salt in ((a, aid, b, bid, 1), (b, bid, a, aid, 2)):
        x.tell("send", id=xid, n=size, salt=salt)
        got = y.ask("recv", id=yid, n=size)
        assert got["n"] == size and got["sha"] == x.answer("send")["sha"], f"stream differs: {got}"


def idle(n, k, port):
    pair(n, k, port)
    kill()
    exchange(n, "s", k, "c")
    kill()
    exchange(k, "c", n, "s")


def half_closed_by_peer(n, k, port):
    pair(n, k, port)
    k.ask("shutdown", id="c")
    assert n.ask("eof", id="s")["eof"]
    kill()
    n.tell("send", id="s", n=500000)
    assert k.ask("recv", id="c", n=500000)["sha"] == n.answer()["sha"]
    n.ask("close", id="s")
    assert k.ask("eof", id="c")["eof"]


def half_closed_by_us(n, k, port):
    pair(n, k, port)
    n.ask("shutdown", id="s")
    assert k.ask("eof", id="c")["eof"]
    kill()
    k.tell("send", id="c", n=500000)
    assert n.ask("recv", id="s", n=500000)["sha"] == k.answer()["sha"]
    k.ask("close", id="c")
    assert n.ask("eof", id="s")["eof"]


def time_wait(n, k, port):
    pair(n, k, port)
    n.ask("close", id="s")
    assert k.ask("eof", id="c")["eof"]
    k.ask("close", id="c")
    assert wait_for(lambda: "TIME-WAIT" in ss_states(port), 5), ss_states(port)
    kill()
    assert "TIME-WAIT" in ss_states(port), ss_states(port)


def unaccepted_with_data(n, k, port):
    n.ask("listen", id="l", port=port)
    name = k.ask("connect", id="c", host=ADDR, port=port)["name"]
    sent = k.ask("send", id="c", n=20000)
    kill()
    assert n.ask("accept", id="l", child="s")["peer"] == name
    assert n.ask("recv", id="s", n=20000)["sha"] == sent["sha"]
    exchange(n, "s", k, "c")


def syn_received(n, k, port):
    n.ask("listen", id="l", port=port)
    nft(("out", f"tcp dport {port} tcp flags & (syn | ack) == ack drop"))
    k.ask("connect", id="c", host=ADDR, port=port)
    assert wait_for(lambda: "SYN-RECV" in ss_states(port), 3), ss_states(port)
    kill()
    assert "SYN-RECV" in ss_states(port), ss_states(port)
    nft()
    k.ask("send", id="c", n=1000)
    n.ask("accept", id="l", child="s")
    n.ask("recv", id="s", n=1000)
    exchange(n, "s", k, "c")


def full_receive_window(n, k, port):
    pair(n, k, port)
    sent = k.ask("fill", id="c")
    kill()
    got = n.ask("recv", id="s", n=sent["sent"])
    assert got["n"] == sent["sent"] and got["sha"] == sent["sha"]
    exchange(n, "s", k, "c")


def full_send_window(n, k, port):
    pair(n, k, port)
    sent = n.ask("fill", id="s")
    kill()
    got = k.ask("recv", id="c", n=sent["sent"])
    assert got["n"] == sent["sent"] and got["sha"] == sent["sha"]
    exchange(n, "s", k, "c")


def out_of_order_held(n, k, port):
    pair(n, k, port)
    nft(("out", f"tcp dport {port} tcp flags & (psh) == psh drop"))
    first = k.ask("send", id="c", n=1000, salt=1)
    nft()
    second = k.ask("send", id="c", n=1000, salt=2)
    time.sleep(0.02)  # the second segment is to reach netd, before the first is sent again after 200 ms
    kill()
    assert n.ask("recv", id="s", n=1000)["sha"] == first["sha"]
    assert n.ask("recv", id="s", n=1000)["sha"] == second["sha"]
    exchange(n, "s", k, "c")


def loss_recovery(n, k, port):
    pair(n, k, port)
    nft(("in", f"tcp sport {port} numgen random mod 100 < 3 drop"), ("out", f"tcp dport {port} numgen random mod 100 < 3 drop"))
    for a, aid, b, bid in ((n, "s", k, "c"), (k, "c", n, "s")):
        a.tell("send", id=aid, n=8000000)
        b.tell("recv", id=bid, n=8000000)
        for _ in range(4):
            time.sleep(0.15)
            kill()
        sent, got = a.answer(), b.answer()
        assert got["n"] == 8000000 and got["sha"] == sent["sha"], got
    nft()
    exchange(n, "s", k, "c")


def connecting(n, k, port):
    """Our own SYN is in flight when the daemon dies."""
    k.ask("listen", id="l", port=port)
    nft(("in", f"tcp dport {port} drop"))
    n.tell("connect", id="s", host=os.environ.get("NETD_PEER_ADDR", "10.99.0.1"), port=port)
    assert wait_for(lambda: "SYN-SENT" in ss_states(port), 3), ss_states(port)
    kill()
    nft()
    n.answer("connect")
    k.ask("accept", id="l", child="c")
    exchange(n, "s", k, "c")


def listening(n, k, port):
    n.ask("listen", id="l", port=port)
    kill()
    k.ask("connect", id="c", host=ADDR, port=port)
    n.ask("accept", id="l", child="s")
    exchange(n, "s", k, "c")


CASES = [idle, listening, half_closed_by_peer, half_closed_by_us, time_wait, unaccepted_with_data, syn_received, connecting,
         full_receive_window, full_send_window, out_of_order_held, loss_recovery]


def main():
    only = sys.argv[1:]
    failed = 0
    for i, case in enumerate(CASES):
        if only and case.__name__ not in only:
            continue
        n, k = Puppet(["netctl", "run", "--"]), Puppet(PEER)
        try:
            case(n, k, 7100 + i)
            print(f"  {case.__name__}: goes on", flush=True)
        except AssertionError as e:
            failed += 1
            print(f"  {case.__name__}: FAILED: {e}", flush=True)
        finally:
            nft()
            n.p.kill()
            k.p.kill()
    return 1 if failed else 0


sys.exit(main())
