"""For tests that start a netd of their own beside the lab's: each in a folder, with a TAP u0, watched for what it leaves behind."""
import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

NETD = os.path.join(os.environ["NETD_BUILD"], "netd/netd")
PATIENCE = 60
STRANGER = 12345
ROOT = open("/proc/self/uid_map").read().split()[2] != "1"  # not of a user namespace with one user
NO_RESOURCES = ["setpriv", "--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource"]  # who has it raises limits
SANITIZED = b"__asan_init" in open(NETD, "rb").read()

# Who loses his parent becomes our child: so we see whom a netd left behind.
ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


class Wrong(Exception):
    pass


def check(condition, *words):
    if not condition:
        raise Wrong(" ".join(str(w) for w in words))


def until(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        check(time.monotonic() < end, f"not within {PATIENCE} s:", what)
        time.sleep(0.005)


def left_behind():
    """Every process that has become ours and lives; the dead are buried."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    mine = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    return [p for p in mine if p]


class Place:
    """A folder with a configuration, and what is run on it."""

    def __init__(self, text=None, **values):
        self.dir = tempfile.mkdtemp(prefix="netd-user.")
        os.chmod(self.dir, 0o777)
        self.file = os.path.join(self.dir, "netd.yaml")
        self.sock = os.path.join(self.dir, "run/netd.sock")
        facts = {"socket": self.sock, "pidfile_dir": os.path.join(self.dir, "run"), "crash_dir": os.path.join(self.dir, "crash"),
                 "standbys": 1, "log_level": "warn", "devices": "[{name: u0, ifname: u0, chunks: 64}]"}
        facts.update({k: str(v).replace("DIR", self.dir) for k, v in values.items()})
        self.write(text if text is not None else "".join(f"{k}: {v}\n" for k, v in facts.items()))

    def write(self, text):
        with open(self.file + ".new", "w") as f:
            f.write(text)
        os.rename(self.file + ".new", self.file)

    def start(self, before=None, args=None, under=(), program=NETD, **more):
        more.setdefault("stderr", open(os.path.join(self.dir, "log"), "ab"))
        more.setdefault("stdin", subprocess.DEVNULL)
        args = ["--config", self.file] if args is None else args
        return subprocess.Popen([*under, program, *args], preexec_fn=before, **more)

    def said(self):
        return open(os.path.join(self.dir, "log")).read()

    def answers(self):
        return netctl("status", sock=self.sock).returncode == 0

    def up(self, p):
        until("netd is up, or gone", lambda: p.poll() is not None or self.answers())
        return p.poll() is None

    def stop(self, p, sig=signal.SIGTERM):
        p.send_signal(sig)
        return p.wait(PATIENCE)

    def clean(self, socket_too=True):
        until("nobody is left behind", lambda: not left_behind())
        check(not os.path.exists("/sys/class/net/u0"), "the TAP is left behind")
        there = os.listdir(os.path.join(self.dir, "run")) if os.path.isdir(os.path.join(self.dir, "run")) else []
        check(not socket_too or not there, "left behind:", there)

    def refuses(self, pattern, status=1, lines=1, **how):
        p = self.start(**how)
        try:
            got = p.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.stop(p)
            raise Wrong("it does not leave; it said:\n" + self.said()) from None
        said = self.said()
        check(got == status, f"exit status {got}, not {status}:\n{said}")
        check(re.search(pattern, said), f"'{pattern}' is not in:\n{said}")
        check(len(said.splitlines()) == lines, f"not {lines} line(s):\n{said}")
        self.clean()

    def works(self, **how):
        p = self.start(**how)
        check(self.up(p), "it left:\n" + self.said())
        check(self.stop(p) == 0, "exit status", p.returncode, self.said())
        self.clean()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)


def netctl(*words, sock=None, **more):
    env = dict(os.environ, NETD_SOCKET=sock) if sock is not None else None
    more.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(["netctl", *words], env=env, capture_output="stdout" not in more, text=True, timeout=PATIENCE, **more)


def stranger():
    os.setgroups([])
    os.setgid(STRANGER)
    os.setuid(STRANGER)
