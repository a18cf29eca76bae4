#!/usr/bin/env python3
"""Hostile clients against a running netd, by the raw contract (proto/control.proto, proto/client.h).

   kernel (peer)                      netd            here (app)
   probe  <-- a byte, all the time --> echo            attackers, one process each, another user

Run inside tools/lab:  tools/lab -- tests/fuzz/hostile_lab.py [--seconds 4] [--attacks NAME,...] [--seed 1]

While each attack runs the probe's connection must stay exact and go on, and no process of netd may die.
Afterwards nothing of the attackers may be left: sessions, sockets, descriptors.
"""
import argparse
import array
import errno
import fcntl
import json
import mmap
import os
import random
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TRAFFIC = [sys.executable, os.path.join(HERE, "..", "fault", "traffic.py")]
ADDR = os.environ.get("NETD_ADDR", "10.99.0.2")
SOCKET = os.environ.get("NETD_SOCKET", "/run/netd/netd.sock")
PIDS = os.environ.get("NETD_PIDFILE_DIR", "/run/netd")
ATTACKER_UID = 4242
F_SETPIPE_SZ = 1031

CM_VERSION, CM_SETS, SQE, CQE, SLOT = 1, 64, 128, 128, 256
SQ_ENTRIES = 1024
(SOCKET_OP, BIND, LISTEN, CONNECT, ACCEPT, SHUTDOWN, CLOSE, SETSOCKOPT, GETSOCKOPT, GROW, POKE) = range(1, 12)

# ---- protobuf, by hand


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, n):
    return varint(field << 3) + varint(n)


def blob(field, b):
    return varint(field << 3 | 2) + varint(len(b)) + b


def decode(b):
    """{field: last value}: numbers and byte strings."""
    out, at = {}, 0

    def take():
        nonlocal at
        n = shift = 0
        while True:
            c = b[at]
            at += 1
            n |= (c & 127) << shift
            shift += 7
            if not c & 128:
                return n

    while at < len(b):
        key = take()
        if key & 7 == 0:
            out[key >> 3] = take()
        else:
            n = take()
            out[key >> 3] = b[at:at + n]
            at += n
    return out


def attach_request(ident=1, name=b"hostile", slots=256):
    return number(1, ident) + blob(2, number(1, CM_VERSION) + blob(2, name) + number(3, slots))


def status_request(ident=1):
    return number(1, ident) + blob(4, b"")


done = {"connections": 0, "sessions": 0, "thrown_out": 0}


def control():
    done["connections"] += 1
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(10)
    s.connect(SOCKET)
    return s


def status():
    s = control()
    s.send(status_request())
    body = decode(decode(s.recv(65536)).get(6, b""))
    s.close()
    return {"incarnation": body.get(2, 0), "sessions": body.get(3, 0), "sockets": body.get(4, 0)}


# ---- a session by the contract


class Session:
    def __init__(self):
        self.conn = control()
        self.conn.send(attach_request())
        data, fds, _, _ = socket.recv_fds(self.conn, 65536, 8)
        if len(fds) < 3:
            raise OSError(errno.ECONNRESET, str(decode(data)))
        done["sessions"] += 1
        self.fds = fds
        self.memfd, self.bell, self.set0 = fds[:3]
        self.size = os.fstat(self.memfd).st_size
        self.mem = mmap.mmap(self.memfd, self.size)
        self.sq_off, self.cq_off, self.ev_off, self.set_off, self.slot_off, self.heap_off = struct.unpack_from("<6Q", self.mem, 40)
        self.slots = struct.unpack_from("<I", self.mem, 28)[0]
        self.sq_prod = 0

    # The header's lines: facts 0..87, daemon's at 128, ours at 192.
    def word(self, off, value=None):
        if value is None:
            return struct.unpack_from("<Q", self.mem, off)[0]
        struct.pack_into("<Q", self.mem, off, value & (1 << 64) - 1)

    def submit(self, op, slot, args=(0, 0, 0), ep=b"", data=b""):
        at = self.sq_off + self.sq_prod % SQ_ENTRIES * SQE
        e = struct.pack("<QIIiiiI20s64s12x", self.sq_prod, op, slot, *args, 0, ep, data)
        self.mem[at:at + SQE] = e
        self.sq_prod += 1
        self.word(192, self.sq_prod)
        self.ring()
        self.word(200, self.word(136))  # all completions are read

    def ring(self):
        try:
            if select.select([], [self.bell], [], 0)[1]:
                os.write(self.bell, b"x")
        except OSError:
            pass

    def alive(self):
        p = select.poll()
        p.register(self.conn, select.POLLIN)
        return not any(e & (select.POLLHUP | select.POLLERR) for _, e in p.poll(0))

    def close(self):
        done["thrown_out"] += not self.alive()
        self.mem.close()
        self.conn.close()
        for fd in self.fds:
            try:
                os.close(fd)
            except OSError:
                pass


def endpoint(addr, port):
    return b"\0" * 10 + b"\xff\xff" + socket.inet_aton(addr) + struct.pack("<HH", port, 0)


def until(end, step):
    while time.monotonic() < end:
        try:
            step()
        except OSError as e:
            if e.errno in (errno.EMFILE, errno.ENFILE):
                raise
            time.sleep(0.002)


# ---- attacks: each runs until `end`


def open_sockets(s, n):
    for slot in range(n):
        s.submit(SOCKET_OP, slot, (socket.AF_INET, 1 + slot % 2, 0))
    for slot in range(0, n, 2):
        s.submit(LISTEN if slot % 4 else CONNECT, slot, (socket.AF_INET, 0, 0), endpoint(ADDR, 7101))


def garbage(end):
    """Random bytes into every word of the memory, for as long as it lives; then again."""
    while time.monotonic() < end:
        s = Session()
        open_sockets(s, 32)
        time.sleep(0.01)
        for _ in range(300):
            if not s.alive() or time.monotonic() > end:
                break
            where = random.randrange(5)
            if where == 0:
                at, n = random.randrange(128, s.heap_off - 64), 64
            elif where == 1:
                at, n = s.slot_off + random.randrange(s.slots) * SLOT + 192, 64
            elif where == 2:
                at, n = s.sq_off + random.randrange(SQ_ENTRIES) * SQE, SQE
            elif where == 3:
                at, n = random.randrange(s.heap_off, s.heap_off + (1 << 20)), 4096
            else:
                s.submit(random.randrange(12), random.randrange(40), [random.randrange(-2, 70) for _ in range(3)],
                         endpoint(ADDR, random.randrange(7100, 65536)), random.randbytes(64))
                continue
            s.mem[at:at + n] = random.randbytes(n)
            s.ring()
        s.close()


def storm(end):
    """Nothing but noise over the whole control part, without caring for an answer."""
    while time.monotonic() < end:
        s = Session()
        stop = min(end, time.monotonic() + 0.5)
        noise = random.randbytes(s.heap_off - 128)
        while time.monotonic() < stop:
            s.mem[128:s.heap_off] = noise
            s.ring()
        s.close()


def bells(end):
    """Pipes made blocking, full, tiny, opened again from the other side; reading ends closed."""
    while time.monotonic() < end:
        s = Session()
        extra = []
        for fd in (s.bell, s.set0):
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
            for mode in (os.O_RDONLY, os.O_WRONLY):
                try:
                    extra.append(os.open(f"/proc/self/fd/{fd}", mode | os.O_NONBLOCK))
                except OSError:
                    continue
                try:
                    fcntl.fcntl(extra[-1], F_SETPIPE_SZ, 4096)
                    while mode == os.O_WRONLY:
                        os.write(extra[-1], b"x" * 512)
                except OSError:
                    pass
        for fd in extra:
            fcntl.fcntl(fd, fcntl.F_SETFL, 0)  # blocking: whoever shares it
        # Every slot names every set, all are armed: the daemon has to ring full pipes.
        for slot in range(32):
            struct.pack_into("<II4H", s.mem, s.slot_off + slot * SLOT + 192 + 16, 1, 1, 0, 0, 0, 0)
        for arm in range(1, 400, 2):
            struct.pack_into("<I", s.mem, s.set_off, arm)
            s.submit(SOCKET_OP, arm % 32, (socket.AF_INET, 2, 0))
            s.submit(CONNECT, arm % 32, (socket.AF_INET, 0, 0), endpoint(ADDR, 9))
            s.submit(CLOSE, arm % 32)
            if arm == 201:
                os.close(s.set0)  # from here on nobody reads
        for fd in extra:
            os.close(fd)
        s.close()


def memory_tricks(end):
    """What the memory's descriptor may allow: cutting, punching, sealing, locking."""
    def step():
        s = Session()
        open_sockets(s, 16)
        for trick in (lambda: os.ftruncate(s.memfd, 4096), lambda: os.ftruncate(s.memfd, s.size * 2),
                      lambda: fcntl.fcntl(s.memfd, 1033, 0x0f),  # F_ADD_SEALS
                      lambda: fcntl.lockf(s.memfd, fcntl.LOCK_EX | fcntl.LOCK_NB),
                      lambda: s.mem.madvise(mmap.MADV_REMOVE, 0, s.heap_off & ~4095),
                      lambda: s.mem.madvise(mmap.MADV_REMOVE, s.heap_off & ~4095, 1 << 20)):
            try:
                trick()
            except OSError:
                continue
        if os.fstat(s.memfd).st_size != s.size:
            os._exit(3)  # the size was not sealed
        s.ring()
        time.sleep(0.005)
        s.close()
    until(end, step)


def messages(end):
    """Control messages with descriptors, cut off, empty, too long; answers nobody reads."""
    def step():
        s = control()
        s.setblocking(False)
        for _ in range(random.randrange(1, 400)):
            m = random.choice((attach_request(random.randrange(9)), status_request(random.randrange(9)), random.randbytes(40),
                               number(1, 1) + blob(3, number(1, random.randrange(1 << 32))), attach_request(1, b"n" * 60000),
                               number(1, 7) + blob(14, number(1, random.randrange(1 << 32)))))
            kind = random.randrange(6)
            if kind == 0:
                m = m[:random.randrange(len(m) + 1)]
            try:
                if kind == 1:
                    fds = array.array("i", [s.fileno(), 0, 1] * random.randrange(1, 20))
                    s.sendmsg([m], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
                else:
                    s.send(m)
            except BlockingIOError:
                break
            except OSError:
                break
        if random.randrange(2):
            time.sleep(0.01)
        s.close()
    until(end, step)


def connections(end):
    """Two thousand connections that are opened and left."""
    left = []
    try:
        while len(left) < 2000 and time.monotonic() < end:
            s = control()
            if len(left) % 3 == 0:
                s.send(status_request()[:2])
            elif len(left) % 100 == 1:
                s.send(attach_request())  # and the answer stays where it is
            left.append(s)
    except OSError:
        pass
    time.sleep(max(0, end - time.monotonic()))


def floods(end):
    """Attach and leave, as fast as it goes; half of them without reading the answer."""
    def step():
        if random.randrange(2):
            Session().close()
            return
        s = control()
        s.send(attach_request())
        s.close()
    until(end, step)


def sockets(end):
    """Every slot in use: connections to the peer and to netd itself, half of them left in the middle."""
    def step():
        s = Session()
        for slot in range(200):
            s.submit(SOCKET_OP, slot, (socket.AF_INET, 1 + slot % 2, 0))
            s.submit(CONNECT, slot, (socket.AF_INET, 0, 0), endpoint(random.choice((ADDR, "10.99.0.1", "10.99.0.77")), 7101 + slot))
            if slot % 50 == 0:
                time.sleep(0.002)
        time.sleep(0.05)
        s.close()
    until(end, step)


ATTACKS = {f.__name__: f for f in (garbage, storm, bells, memory_tricks, messages, connections, floods, sockets)}

# ---- the other side: what must hold


def start_attack(name, seconds, seed, tell):
    pid = os.fork()
    if pid:
        return pid
    for k in done:
        done[k] = 0
    try:
        random.seed(seed)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.geteuid() == 0:
            try:
                os.setgroups([])
                os.setgid(ATTACKER_UID)
                os.setuid(ATTACKER_UID)
            except OSError:
                pass  # a user namespace that knows only one user
        end = time.monotonic() + seconds
        until(end, lambda: ATTACKS[name](end))
        os.write(tell, json.dumps(done).encode())
        os._exit(0)
    except BaseException as e:  # noqa: B902: a child must never come back
        print(f"hostile: {name}: {type(e).__name__}: {e}", file=sys.stderr, flush=True)
        os._exit(2)


def wait_child(pid, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got, st = os.waitpid(pid, os.WNOHANG)
        if got:
            return os.waitstatus_to_exitcode(st)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "stuck"


def pids():
    out = {}
    for name in sorted(os.listdir(PIDS)):
        if name.endswith(".pid"):
            with open(os.path.join(PIDS, name)) as f:
                out[name[:-4]] = int(f.read())
    return out


def descriptors(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def footprint():
    now = {"pids": pids(), **status()}
    now["fds"] = {n: descriptors(p) for n, p in now["pids"].items() if n in ("inet", "supervisor")}
    return now


def leftovers(before, seconds):
    """What is still there when everything should be gone; None if nothing."""
    end = time.monotonic() + seconds
    while True:
        now = footprint()
        left = [k for k in ("sessions", "sockets") if now[k] > before[k]]
        left += [f"descriptors of {n}" for n, v in now["fds"].items() if v and before["fds"].get(n) and v > before["fds"][n] + 4]
        if not left:
            return None
        if time.monotonic() > end:
            return f"{left}: {before} -> {now}"
        time.sleep(0.25)


def traffic(where, *args):
    return subprocess.Popen(where + TRAFFIC + list(args), stdout=subprocess.PIPE, text=True)


def probed(name, seconds, seed):
    """One attack with the probe beside it. Returns (what is wrong, facts)."""
    port = str(7001)
    echo = traffic(["netctl", "run", "--"], "echo", port)
    if echo.stdout.readline().strip() != "listening":
        return ["the echo server did not start"], {}
    probe = traffic(os.environ["PEER"].split(), "probe", ADDR, port, str(seconds + 1.5))
    time.sleep(0.7)  # it is connected
    r, w = os.pipe()
    code = wait_child(start_attack(name, seconds, seed, w), seconds + 30)
    os.close(w)
    facts = json.loads(os.read(r, 4096) or b"{}")
    os.close(r)
    wrong = [] if code == 0 else [f"the attacker ended with {code}"]
    if not facts.get("connections"):
        wrong.append("the attacker did nothing")
    try:
        result = json.loads(probe.communicate(timeout=seconds + 30)[0].splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError):
        probe.kill()
        result = {"right": False, "rounds": 0, "slow": []}
    echo.terminate()
    echo.wait()
    if not result["right"]:
        wrong.append(f"the probe's connection was lost after {result['rounds']} rounds")
    worst = max([t1 - t0 for t0, t1 in result.get("slow", [])], default=0)
    if worst > 1.5:
        wrong.append(f"the probe waited {worst:.2f} s")
    if result["rounds"] < 50 * seconds:
        wrong.append(f"only {result['rounds']} rounds")
    return wrong, {"rounds": result["rounds"], "worst_ms": round(worst * 1000, 1), **facts}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seconds", type=float, default=4)
    ap.add_argument("--attacks", default=",".join(ATTACKS))
    ap.add_argument("--seed", type=int, default=1)
    o = ap.parse_args()
    failed = False
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    before = footprint()
    for n, name in enumerate(o.attacks.split(",")):
        wrong, facts = probed(name, o.seconds, o.seed * 1000 + n)
        now = pids()
        wrong += [f"{c} died: {p} -> {now.get(c)}" for c, p in before["pids"].items() if now.get(c) != p]
        left = leftovers(before, 20)
        if left:
            wrong.append("left behind: " + left)
        print(f"{name:14} {facts} {'ok' if not wrong else 'WRONG: ' + '; '.join(wrong)}", flush=True)
        failed |= bool(wrong)
        if wrong:
            before = footprint()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
