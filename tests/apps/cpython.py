#!/usr/bin/env python3
"""CPython's own socket tests, on the kernel and on netd, class by class, a process each; the results must be the same.

Run inside tools/lab:  tools/lab -- tests/apps/cpython.py [--quick] [MODULE[.CLASS] ...]

The kernel's run is in a network namespace of its own with lo up and nothing else; netd's is under `netctl run`, whose
namespace has no route and no lo, so that nothing can pass by the kernel's sockets. What may differ stands, test by test with
the reason, in the table of README.md beside this file; a difference that is not there fails, and so does a line there that
is not true any more, and a class that has no end or dies, be it on both.
"""
import argparse
import concurrent.futures
import fnmatch
import json
import os
import re
import subprocess
import sys
import time

PYTHON = "/usr/bin/python3"
MODULES = ["test_socket", "test_select", "test_selectors", "test_poll", "test_epoll", "test_socketserver", "test_httplib",
           "test_ftplib", "test_ssl"]
# Not about sockets as such, but everything in them goes over sockets.
MORE = ["test_asyncore", "test_asynchat", "test_smtpd", "test_smtplib", "test_poplib", "test_imaplib", "test_nntplib",
        "test_telnetlib", "test_urllib2_localnet", "test_httpservers", "test_xmlrpc", "test_docxmlrpc", "test_robotparser",
        "test_wsgiref", "test_signal", "test_logging", "test_eintr"]
# Of modules that are about other things too: the classes with sockets.
PARTS = ["test_os.TestSendfile"] + [
    f"test_multiprocessing_{m}.{c}" for m in ("fork", "spawn", "forkserver") for c in (
        "WithProcessesTestConnection", "WithProcessesTestListener", "WithProcessesTestListenerClient", "WithProcessesTestPoll",
        "WithProcessesTestPicklingConnections", "WithManagerTestRemoteManager", "WithManagerTestManagerRestart",
        "WithManagerTestMyManager", "TestWait", "OtherTest")]
PACKAGE = "test_asyncio"
ASYNCIO = ["test_base_events", "test_buffered_proto", "test_context", "test_events", "test_futures", "test_futures2",
           "test_locks", "test_pep492", "test_protocols", "test_queues", "test_runners", "test_selector_events",
           "test_sendfile", "test_server", "test_sock_lowlevel", "test_ssl", "test_sslproto", "test_streams",
           "test_subprocess", "test_taskgroups", "test_tasks", "test_threads", "test_timeouts", "test_transports",
           "test_unix_events", "test_waitfor"]
QUICK = ["test_select", "test_selectors", "test_poll", "test_epoll", "test_socketserver", "test_httplib",
         "test_asyncio.test_sock_lowlevel", "test_asyncio.test_server", "test_socket.GeneralModuleTests",
         "test_socket.BasicTCPTest", "test_socket.BasicUDPTest", "test_socket.NonBlockingTCPTests",
         "test_socket.SendmsgTCPTest", "test_socket.RecvmsgTCPTest", "test_socket.SendfileUsingSendfileTest"]
# Has no end on a kernel whose vsock has no peer, and is none of netd's business.
NEVER = {("test_socket", "ThreadedVSOCKSocketStreamTest")}
STORMY = "may, while netd-inet is being killed"
HERE = os.path.dirname(os.path.abspath(__file__))

# Runs in the tested process: python3 -c ONE MODULE CLASS, results as JSON in the last line.
ONE = r"""
import importlib, json, sys, unittest
from test import support
support.use_resources = ["network"]
support.verbose = 0
name, cls = sys.argv[1:]
class R(unittest.TestResult):
    out = {}
    def note(self, t, what, why=""):
        self.out.setdefault(t.id().split(".")[-1] if hasattr(t, "id") else str(t), (what, why))
    def addSuccess(self, t): self.note(t, "ok")
    def addSkip(self, t, why): self.note(t, "skipped", why)
    def addFailure(self, t, err): self.note(t, "failed", self._exc_info_to_string(err, t)[-1500:])
    def addError(self, t, err): self.note(t, "error", self._exc_info_to_string(err, t)[-1500:])
    def addSubTest(self, t, s, err):
        if err: self.note(t, "failed", self._exc_info_to_string(err, t)[-1500:])
    def addExpectedFailure(self, t, err): self.note(t, "ok")
    def addUnexpectedSuccess(self, t): self.note(t, "failed", "unexpected success")
m = importlib.import_module("test." + name)
if hasattr(m, "setUpModule"):
    try: m.setUpModule()
    except unittest.SkipTest: pass
r = R()
unittest.defaultTestLoader.loadTestsFromTestCase(getattr(m, cls)).run(r)
print("\n" + json.dumps(r.out), flush=True)
import os; os._exit(0)
"""
LIST = r"""
import importlib, json, sys, unittest
from test import support
support.use_resources = ["network"]
m = importlib.import_module("test." + sys.argv[1])
print(json.dumps([n for n, c in vars(m).items() if isinstance(c, type) and issubclass(c, unittest.TestCase)
                  and c.__module__ == m.__name__ and unittest.defaultTestLoader.getTestCaseNames(c)]))
"""
KERNEL = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
NETD = ["netctl", "run", "--"]


def run_one(where, module, cls, seconds):
    try:
        p = subprocess.run(where + ["timeout", "-k", "5", str(seconds), PYTHON, "-c", ONE, module, cls], capture_output=True,
                           text=True, cwd="/tmp", stdin=subprocess.DEVNULL)
    except OSError as e:
        sys.exit(f"cpython: {where[0]}: {e}")
    try:
        return json.loads(p.stdout.rstrip().rsplit("\n", 1)[-1])
    except (ValueError, IndexError):
        return {"*": ("no end" if p.returncode in (124, 137) else f"died with {p.returncode}", p.stderr[-1500:])}


def classes(module):
    p = subprocess.run(KERNEL + [PYTHON, "-c", LIST, module], capture_output=True, text=True, cwd="/tmp")
    if p.returncode:
        sys.exit(f"cpython: {module} cannot be listed (libpython3.11-testsuite): {p.stderr.strip()[-300:]}")
    return json.loads(p.stdout)


def known():
    """README.md's table: | `test_socket.Class.test` | reason |, where a name may have shell patterns in it"""
    with open(os.path.join(HERE, "README.md")) as f:
            rows = dict(re.findall(r"^\| `(test_[\w.*]+)` \| (.+) \|$", f.read(), re.M))
    return {test: why for test, why in rows.items() if os.environ.get("STORM") or not why.startswith(STORMY)}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("what", nargs="*", help="MODULE or MODULE.CLASS; all if none")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--verbose", action="store_true")
    ap.add_argument("--seconds", type=int, default=120, help="a class")
    ap.add_argument("--times", action="store_true", help="say how long each class took on the kernel and on netd")
    o = ap.parse_args()
    every = MODULES + MORE + [f"{PACKAGE}.{m}" for m in ASYNCIO]
    jobs = []
    for what in o.what or (QUICK if o.quick else every + PARTS):
        if what in every:
            jobs += [(what, c) for c in classes(what) if (what, c) not in NEVER]
        else:
            jobs.append(tuple(what.rsplit(".", 1)))
    reasons, listed, counts, wrong = known(), {}, {}, []

    def both(job):
        begun = time.monotonic()
        kernel = run_one(KERNEL, *job, o.seconds)
        between = time.monotonic()
        netd = run_one(NETD, *job, o.seconds)
        if o.times:
            print(f"{'.'.join(job)}: {between - begun:.1f} s, {time.monotonic() - between:.1f} s", flush=True)
        return job, kernel, netd

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for (module, cls), kernel, netd in pool.map(both, jobs):
            for test in sorted(kernel.keys() | netd.keys()):
                k, n = kernel.get(test, ("not run", "")), netd.get(test, ("not run", ""))
                counts[n[0]] = counts.get(n[0], 0) + 1
                name = f"{module}.{cls}.{test}"
                reason = next((r for r in reasons if fnmatch.fnmatchcase(name, r)), None)
                if k[0] == n[0] and test != "*":
                    continue
                if reason:
                    listed[reason] = listed.get(reason, 0) + 1
                    continue
                wrong.append(name)
                print(f"{name}: kernel {k[0]}, netd {n[0]}", flush=True)
                if o.verbose:
                    print("    " + n[1].replace("\n", "\n    "), flush=True)
    ran = [f"{m}.{c}" for m, c in jobs]
    stale = [r for r in reasons if r not in listed and not reasons[r].startswith(STORMY) and fnmatch.filter(ran, r.rsplit(".", 1)[0])]
    if o.verbose:
        for r, n in sorted(listed.items()):
            print(f"{r}: {n} differ as listed")
    for r in stale:
        print(f"{r}: listed in README.md, but the same now")
    print(f"{len(jobs)} classes: " + ", ".join(f"{n} {w}" for w, n in sorted(counts.items())) +
          f"; {sum(listed.values())} differ as listed, {len(wrong)} differ otherwise, {len(stale)} listed wrongly")
    return 1 if wrong or stale or not counts.get("ok") else 0


sys.exit(main())
