#!/usr/bin/env python3
"""What users do wrong, and what machines lack: one line that says it, the right exit status, nothing left behind.

Runs inside tools/lab; netctl asks the lab's netd, every other netd here has a folder and a TAP of its own.
"""
# timeout: 180
import contextlib
import fcntl
import itertools
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

from own_netd import NETD, NO_RESOURCES, PATIENCE, ROOT, SANITIZED, Place, Wrong, check, left_behind, netctl, stranger, until


def limit(which, value):
    return lambda: resource.setrlimit(which, (value, value))


# ---- netd: words and configuration

def words():
    for args, status, pattern in ((["--bogus"], 64, "bogus"), (["stray"], 64, "Too many"), (["-c"], 64, "argument"),
                                  (["--config", "/nonexistent"], 1, "/nonexistent: No such file"),
                                  (["--config", "/tmp"], 1, "/tmp: not a regular file"),
                                  (["--config", "/dev/null"], 1, "/dev/null: not a regular file")):
        with Place() as place:
            place.refuses(pattern, status, args=args, lines=2 if status == 64 else 1)
    with Place() as place:
        check(place.start(args=["--check-config", "--config", place.file], stdout=open("/dev/full", "w")).wait() == 1, "a full disk is no success")


def configuration():
    device = "devices: [{name: a}]\n"
    for text, pattern in (("", ":1: devices: missing"), ("devices: [", ":2: syntax"), (device + "nonsense: 1\n", ":2: nonsense: "),
                          ("standbys: 1\n" + device + "hang_ms: 1\n", ":3: hang_ms: 1 is not between"), (device + "nice: x\n", ":2: nice"),
                          ("socket: /tmp/" + "x" * 120 + "\n" + device, ":1: socket: longer than"), ("socket: run/s\n" + device, "absolute"),
                          ("devices:\n  - name: a\n    mtu: 9\n", r":3: devices\[0\].mtu: "), ("devices: [{name: a, driver: e1000}]\n", "no driver 'e1000'"),
                          ("devices: [{name: a, mac: zz}]\n", "mac: 'zz'"), ("devices: [{name: a}, {name: a}]\n", "'a' is taken")):
        with Place(text) as place:
            place.refuses(re.escape(place.file) + ".*" + pattern if pattern.startswith(":") else pattern)


# ---- netd: what the machine lacks

def privileges():
    with Place(devices="[{name: u0, ifname: u0, netns: /run/netns/none}]") as place:
        place.refuses("cannot enter network namespace /run/netns/none: No such file")
    with Place() as place:
        place.works(under=["unshare", "-Urn"])
    if not ROOT:
        return
    with Place() as place:
        place.refuses("netd has to be root, or in a user namespace", before=stranger)
    with Place() as place:
        os.mkdir(os.path.join(place.dir, "run"), 0o755)
        place.refuses(r"netd.sock cannot be made: Permission denied", before=stranger)
    if os.stat("/dev/net/tun").st_mode & 2:
        with Place() as place:
            place.works(before=stranger, under=["unshare", "-Urn"])


def devices():
    subprocess.run(["ip", "tuntap", "add", "u1", "mode", "tap"], check=True)
    hold = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(hold, 0x400454ca, struct.pack("16sH22x", b"u1", 0x5002))
    with Place(devices="[{name: u0, ifname: u1}]") as place:
        place.refuses(r"u1: .*busy \(another process has it\)")
    os.close(hold)
    subprocess.run(["ip", "tuntap", "del", "u1", "mode", "tap"], check=True)
    with Place() as place:
        place.refuses("cannot open /dev/net/tun: No such file", under=["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh"])
    with Place() as place:
        place.works(under=["unshare", "-m", "sh", "-c", 'mount -o remount,ro,bind /proc && exec "$@"', "sh"])


def places():
    with Place() as place:
        open(os.path.join(place.dir, "run"), "w").close()
        place.refuses("Not a directory")
    with Place(socket="DIR/precious") as place:
        with open(os.path.join(place.dir, "precious"), "w") as f:
            f.write("mine")
        place.refuses("precious is there already, and no socket")
        check(open(os.path.join(place.dir, "precious")).read() == "mine", "it was removed")
    with Place() as place:
        os.symlink("/nonexistent/there", os.path.join(place.dir, "run"))
        place.refuses("netd.sock cannot be made: No such file")
    with Place() as place:
        os.mkdir(os.path.join(place.dir, "real"))
        os.symlink("real", os.path.join(place.dir, "run"))
        place.works()
    with Place(socket="DIR/run/" + "s" * 50) as place:  # what a netd that is gone left
        os.mkdir(os.path.join(place.dir, "run"))
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        place.sock = os.path.join(place.dir, "run", "s" * 50)
        s.bind(place.sock)
        s.close()
        for name in (place.sock + ".lock", os.path.join(place.dir, "run/supervisor.pid"), os.path.join(place.dir, "run/inet.pid")):
            with open(name, "w") as f:
                f.write("1\n")
        place.works()


def programs():
    with Place() as place:
        folder = os.path.join(place.dir, "bin")
        os.mkdir(folder)
        for name in ("netd", "netd-inet"):
            shutil.copy(os.path.join(os.path.dirname(NETD), name), folder)
        place.refuses("driver u0 cannot be started: No such file", program=os.path.join(folder, "netd"))
        os.unlink(os.path.join(folder, "netd-inet"))
        os.unlink(os.path.join(place.dir, "log"))
        place.refuses("netd-inet cannot be started: No such file", program=os.path.join(folder, "netd"))


def limits():
    for n in (5, 64, 255):
        with Place() as place:
            place.refuses(f"at most {n} files may be open", before=limit(resource.RLIMIT_NOFILE, n), under=NO_RESOURCES)
    with Place() as place:
        place.works(before=limit(resource.RLIMIT_NOFILE, 256), under=NO_RESOURCES)
    if SANITIZED:
        return  # they take terabytes of address space
    for mib in (500, 5000):
        with Place() as place:
            place.refuses("7168 MiB of address space cannot be had: .*arena_mib", before=limit(resource.RLIMIT_AS, mib << 20))


def full_disk():
    with Place() as place:
        disk = os.path.join(place.dir, "run")
        os.mkdir(disk)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
        try:
            with open(os.path.join(disk, "ballast"), "wb") as f, contextlib.suppress(OSError):
                f.write(bytes(1 << 20))
                f.flush()
            place.write(open(place.file).read().replace("crash_dir: " + place.dir, "crash_dir: " + disk))
            p = place.start()
            check(place.up(p), place.said())
            old = inet(place)
            os.kill(old, signal.SIGKILL)
            until("netd-inet is replaced", lambda: inet(place) not in (0, old))
            until("it says that the disk is full", lambda: "crash-" in place.said() and "No space left" in place.said())
            check(place.stop(p) == 0, "exit status", p.returncode)
            until("nobody is left behind", lambda: not left_behind())
            check(not [n for n in os.listdir(disk) if n not in ("ballast", "crash")], os.listdir(disk))
        finally:
            subprocess.run(["umount", disk], check=True)


def inet(place):
    """The process that has the role, or 0."""
    for line in netctl("status", sock=place.sock).stdout.splitlines():
        if line.startswith("netd-inet") and "running" in line:
            return int(line.split()[1])
    return 0


def closed_descriptors():
    def closing(which):
        return lambda: [os.close(fd) for fd in which]
    for n in (1, 2, 3):
        for which in itertools.combinations((0, 1, 2), n):
            with Place() as place:
                place.works(before=closing(which))


# ---- netd: starting and stopping

def twice():
    with Place() as place:
        p = place.start()
        check(place.up(p), place.said())
        until("its pid file", lambda: os.path.exists(os.path.join(place.dir, "run/supervisor.pid")))
        q = place.start(stderr=subprocess.PIPE)
        said = q.communicate(timeout=PATIENCE)[1].decode()
        check(q.returncode == 1 and said.count("\n") == 1 and f"netd.sock is served by another netd (pid {p.pid})" in said, q.returncode, said)
        check(place.answers() and inet(place), "the first one is disturbed")
        check(place.stop(p) == 0, place.said())
        place.clean()


def at_once():
    """Several first starts at the same moment: one is netd, the others say so and leave."""
    for _ in range(8):
        with Place(log_level="error") as place:
            all_of_them = [place.start() for _ in range(4)]
            until("one is left", lambda: sum(p.poll() is None for p in all_of_them) == 1 and place.answers())
            winner = next(p for p in all_of_them if p.poll() is None)
            losers = [p.returncode for p in all_of_them if p is not winner]
            check(losers == [1, 1, 1] and place.said().count("is served by another netd") == 3, losers, place.said())
            check(place.stop(winner) == 0, winner.returncode, place.said())
            check(place.said().count("\n") == 3, place.said())
            place.clean()


def signals():
    """At any moment of start and stop."""
    for i in range(40):
        sig = (signal.SIGINT, signal.SIGTERM)[i % 2]
        with Place() as place:
            p = place.start()
            if i % 10 == 9:
                place.up(p)
            else:
                time.sleep(i * 0.0015)
            p.send_signal(sig)
            time.sleep(0.001 * (i % 4))
            p.send_signal(sig)
            check(p.wait(PATIENCE) in (0, -sig), "exit status", p.returncode, place.said())
            place.clean()


def reload():
    with Place() as place:
        good = open(place.file).read()
        p = place.start()
        check(place.up(p), place.said())
        for bad, pattern in ((good + "hang_ms: 1\n", r"not reloaded: \S+:7: hang_ms: "), ("devices: [", ":2: syntax"), ("", "devices: missing"),
                             (good.replace("chunks: 64", "chunks: 128"), "chunks changes only with a restart")):
            place.write(bad)
            p.send_signal(signal.SIGHUP)
            until("it says what is wrong", lambda pattern=pattern: re.search(pattern, place.said()))
        os.unlink(place.file)
        p.send_signal(signal.SIGHUP)
        until("it says what is wrong", lambda: "netd.yaml: No such file" in place.said())
        check(place.answers(), "it does not answer any more")
        check(place.said().count("\n") == 5, place.said())
        check(place.stop(p) == 0, place.said())
        place.clean()


def no_supervisor():
    with Place() as place:
        p = place.start()
        check(place.up(p), place.said())
        check("no supervisor" not in netctl("status", sock=place.sock).stdout)
        check('"supervised": true' in netctl("--json", "status", sock=place.sock).stdout)
        p.kill()
        p.wait()
        until("netctl status says so", lambda: "There is no supervisor" in netctl("status", sock=place.sock).stdout)
        check('"supervised": false' in netctl("--json", "status", sock=place.sock).stdout)
        p = place.start()
        until("there is one again", lambda: p.poll() is None and "no supervisor" not in netctl("status", sock=place.sock).stdout)
        check(place.stop(p) == 0, place.said())
        place.clean()


# ---- netctl

def netctl_words():
    for line in ("", "bogus", "--bogus", "status bogus", "link --bogus", "addr bogus", "addr add", "addr add 10.0.0.1/24", "addr add 10.0.0.1/33 dev tap0",
                 "addr add 10.0.0.1/24 dev tap0 more", "route add", "route add 10.2.0.0/16 via", "route add 10.2.0.0/16 via x",
                 "route add 10.2.0.0/16 via 10.99.0.1 metric x", "route add 10.2.0.0/16 via 10.99.0.1 metric -1", "route add 10.2.0.0/16 via 10.99.0.1 metric 99999999999",
                 "neigh add 10.99.0.9 lladdr zz dev tap0", "neigh bogus", "ss --bogus", "ss bogus", "stats --bogus", "stats a b", "blackbox bogus", "run", "run --",
                 "run -x", "run --help", "killpoint x y"):
        r = netctl(*line.split())
        check(r.returncode == 2 and r.stderr and not r.stdout, f"netctl {line}:", r)
        check(r.stderr.startswith(("netctl: ", "usage: netctl ")), r.stderr)
    for line in ("addr add 10.0.0.1/24 dev nope", "addr del 10.1.1.1/24 dev tap0", "route del 10.77.0.0/16", "route add 10.2.0.0/16 via 99.9.9.9",
                 "neigh del 10.99.0.9 dev tap0"):
        r = netctl(*line.split())
        check(r.returncode == 1 and r.stderr.count("\n") == 1 and not r.stdout, f"netctl {line}:", r)
    for sock in ("/nonexistent/x", "/tmp", "/etc/passwd", "/" + "x" * 200):
        for command in (("status",), ("run", "true")):
            r = netctl(*command, sock=sock)
            check(r.returncode == 1 and r.stderr.count("\n") == 1 and r.stderr.startswith("netctl: "), sock[:20], command, r)
    if ROOT:
        for line in ("addr add 10.0.0.1/24 dev tap0", "route del default"):
            r = netctl(*line.split(), preexec_fn=stranger)
            check(r.returncode == 1 and "only an administrator" in r.stderr, r)
        check(netctl("status", preexec_fn=stranger).returncode == 0, "everybody may look")


def netctl_output():
    for command in ("status", "link", "addr", "route", "neigh", "ss", "stats", "blackbox"):
        for options in ((), ("--json",)):
            r = netctl(*options, command, stdout=open("/dev/full", "w"), stderr=subprocess.PIPE)
            check(r.returncode == 1 and "cannot be written: No space left" in r.stderr, command, r)
            check(netctl(*options, command, stdout=None, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1)).returncode == 1, command, "into nothing")
            read, write = os.pipe()
            os.close(read)
            r = netctl(*options, command, stdout=write, stderr=subprocess.PIPE, restore_signals=True)
            os.close(write)
            check(r.returncode == -signal.SIGPIPE and not r.stderr, command, "| head:", r)


def netctl_run():
    for program, status in ((["/nonexistent"], 127), (["nope-at-all"], 127), (["/etc/passwd"], 126), (["/tmp"], 126), (["sh", "-c", "exit 7"], 7),
                            (["sh", "-c", "kill -9 $$"], -9), (["sh", "-c", "kill -INT $$"], -2), (["sh", "-c", "kill -SEGV $$"], -11)):
        check(netctl("run", "--", *program).returncode == status, program, status)
    where, name = os.path.split(os.environ["NETD_SOCKET"])
    ask = "import socket; s = socket.socket(); s.bind(('10.99.0.2', 7999)); print(s.getsockname()[0])"
    r = netctl("run", "sh", "-c", f'cd / && exec "{sys.executable}" -c "{ask}"', sock=name, cwd=where)
    check(r.stdout == "10.99.0.2\n", "from a relative socket:", r)
    # Ctrl-C at any moment: for the whole foreground group. It ends the program by itself: who waits for EINTR from a call
    # misses a signal that comes just before it, on any stack.
    for i in range(12):
        server = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); import socket; s = socket.socket(); s.bind(('10.99.0.2', 7998)); s.listen(); print('up', flush=True); s.accept()"
        p = subprocess.Popen(["netctl", "run", sys.executable, "-c", server], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0)
        if i % 4 == 3:
            check(p.stdout.readline() == b"up\n", "the server does not start: the last one left its port?")
        else:
            time.sleep(i * 0.01)
        os.killpg(p.pid, signal.SIGINT)
        p.stdout.close()
        check(p.wait(PATIENCE) in (-signal.SIGINT, 1), "Ctrl-C:", p.returncode)
        until("its sockets are gone", lambda: ":7998" not in netctl("ss", "-a").stdout)


def main():
    wrong = 0
    cases = [words, configuration, privileges, devices, places, programs, limits, full_disk, closed_descriptors, twice, at_once, signals, reload, no_supervisor,
             netctl_words, netctl_output, netctl_run]
    only = sys.argv[1:]
    for case in cases:
        if only and case.__name__ not in only:
            continue
        begun = time.monotonic()
        try:
            case()
            print(f"{case.__name__}: well, {time.monotonic() - begun:.1f} s", flush=True)
        except Wrong as e:
            print(f"{case.__name__}: WRONG: {e}", flush=True)
            wrong += 1
            for pid in left_behind():
                os.kill(int(pid), signal.SIGKILL)
    return 1 if wrong else 0


sys.exit(main())
