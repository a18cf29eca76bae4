"""The two sides that are compared: the kernel over a veth pair, and netd in a lab.

       kernel                                 netd
   namespace a -- veth -- namespace b     lab's app + netd -- TAP -- lab's peer
     under test             peer            under test                 peer

A side has an address, the prefix of a command that runs under test, the one of a command that runs on its peer (always
the kernel's stack), and can tell when something under test listens.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("NETD_BUILD", os.path.join(ROOT, "build"))


def sh(*cmd, **kw):
    return subprocess.run(cmd, check=True, capture_output=True, text=True, **kw).stdout


class Veth:
    name = "kernel"
    addr = "10.98.0.2"

    def __enter__(self):
        self.a, self.b = f"nbench{os.getpid()}a", f"nbench{os.getpid()}b"
        for ns in (self.a, self.b):
            sh("ip", "netns", "add", ns)
            sh("ip", "-n", ns, "link", "set", "lo", "up")
        sh("ip", "-n", self.a, "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", self.b)
        for ns, addr in ((self.a, "10.98.0.2/24"), (self.b, "10.98.0.1/24")):
            sh("ip", "-n", ns, "addr", "add", addr, "dev", "v0")
            sh("ip", "-n", ns, "link", "set", "v0", "up")
        self.under, self.peer = ["ip", "netns", "exec", self.a], ["ip", "netns", "exec", self.b]
        return self

    def __exit__(self, *_):
        for ns in (self.a, self.b):
            subprocess.run(["ip", "netns", "del", ns], check=False)

    def listens(self, port):
        return bool(sh(*self.under, "ss", "-Htln", f"sport = :{port}").strip())


class Netd:
    """A lab that this program is inside of."""

    name = "netd"
    addr = "10.99.0.2"

    def __init__(self):
        self.under = ["netctl", "run", "--"]
        self.peer = os.environ["PEER"].split()

    def listens(self, port):
        return any(s["local_port"] == port for s in json.loads(sh("netctl", "--json", "ss", "-tl")))


def start(cmd, ready=""):
    """Starts a program, and waits for its first line if it says one."""
    p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    if ready and not p.stdout.readline().startswith(ready):
        raise SystemExit(f"bench: {' '.join(cmd)} did not start")
    return p


def end(p):
    p.terminate()
    try:
        p.wait(5)
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()


def stop(p):
    end(p)
    p.stdin.close()
    p.stdout.close()


class Server:
    """A program under test that listens on a port, for the length of a `with`."""

    def __init__(self, side, port, *cmd):
        self.side, self.port, self.cmd = side, port, cmd

    def __enter__(self):
        self.said = tempfile.TemporaryFile("w+")  # shown if it fails
        self.process = subprocess.Popen(self.side.under + list(self.cmd), stdout=self.said, stderr=self.said, stdin=subprocess.DEVNULL)
        limit = time.monotonic() + 20
        while not self.side.listens(self.port):
            if self.process.poll() is not None or time.monotonic() > limit:
                self.said.seek(0)
                print(self.said.read()[-500:], file=sys.stderr)
                self.__exit__()
                raise SystemExit(f"bench: {self.cmd[0]} does not listen on {self.side.name}'s port {self.port}")
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        end(self.process)
        self.said.close()
