#!/usr/bin/env python3
"""netd under a systemd that is this test: socket activation, readiness, watchdog, descriptor store, and the unit's capabilities.

   this test                            netd, with what netd.service allows
   control socket  ---- LISTEN_FDS --->  listens on it
   store           <--- FDSTORE -------  what a successor needs
                   ---- LISTEN_FDS --->  the successor

   client (kernel, 10.98.0.1) <== one connection ==> echo server (netd, 10.98.0.2)

Runs inside tools/lab, beside the lab's netd.
"""
# timeout: 120
import array
import json
import os
import re
import signal
import socket
import subprocess
import sys

from own_netd import Place, check, left_behind, netctl, until

UNIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/packaging/netd.service")
WATCHDOG_MS = 200


def unit(key):
    return re.search(f"^{key}=(.*)$", open(UNIT).read(), re.M).group(1)


def capabilities():
    """The words for setpriv that leave only what the unit leaves."""
    kept = {c.removeprefix("CAP_").lower() for c in unit("CapabilityBoundingSet").split()}
    known = subprocess.run(["setpriv", "--list-caps"], capture_output=True, text=True, check=True).stdout.split()
    check(kept <= set(known), "the unit names no capability:", kept - set(known))
    return ["setpriv", "--bounding-set", ",".join("-" + c for c in known if c not in kept)]


class Systemd:
    def __init__(self, place):
        self.place = place
        self.store = {}  # name: descriptor
        self.said = []
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(os.path.join(place.dir, "notify"))
        self.notify.settimeout(0)
        os.mkdir(os.path.join(place.dir, "run"))
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(place.sock)
        self.socket.listen(64)

    def start(self):
        given = [("netd-socket", self.socket.fileno()), *self.store.items()]
        high = [os.dup(fd) for _, fd in given]

        def arrange():
            """Between fork and exec: descriptors 3 and up, as sd_listen_fds(3) says."""
            free = max(high + [3 + len(high)]) + 1
            for i, fd in enumerate(high):
                os.dup2(fd, free + i, inheritable=False)
            for i in range(len(high)):
                os.dup2(free + i, 3 + i, inheritable=True)

        env = {"NOTIFY_SOCKET": os.path.join(self.place.dir, "notify"), "WATCHDOG_USEC": str(WATCHDOG_MS * 1000), "LISTEN_FDS": str(len(given)),
               "LISTEN_FDNAMES": ":".join(name for name, _ in given)}
        # The pid is known only after the fork: sh puts it in the environment, and becomes what it starts.
        p = self.place.start(under=[*capabilities(), "sh", "-c", 'export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$@"', "sh"], before=arrange,
                             env=dict(os.environ, **env), close_fds=False)
        for fd in high:
            os.close(fd)
        return p

    def hear(self):
        """Everything that was said until now."""
        while True:
            try:
                data, ancillary, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(4 * 8))
            except BlockingIOError:
                return self.said
            fds = array.array("i")
            for _, _, d in ancillary:
                fds.frombytes(d)
            words = dict(line.split("=", 1) for line in data.decode().splitlines())
            self.said.append(words)
            if words.get("FDSTORE") == "1":
                check(len(fds) == 1 and words["FDNAME"] not in self.store, "stored twice:", words)
                check(words["FDPOLL"] == "0", words)
                self.store[words["FDNAME"]] = fds[0]
            elif words.get("FDSTOREREMOVE") == "1":
                os.close(self.store.pop(words["FDNAME"]))

    def wait(self, p):
        """Until it ends; who does not listen to it makes it wait."""
        until("it ends", lambda: self.hear() is self.said and p.poll() is not None)
        self.hear()
        return p.returncode

    def heard(self, key, value=""):
        return sum(words.get(key, "").startswith(value) for words in self.hear() if key in words)


def echo(place):
    code = ("import socket; s = socket.create_server(('10.98.0.2', 7000)); print('up', flush=True); c = s.accept()[0]\n"
            "while d := c.recv(100): c.sendall(d)")
    p = subprocess.Popen(["netctl", "run", sys.executable, "-c", code], env=dict(os.environ, NETD_SOCKET=place.sock), stdout=subprocess.PIPE)
    check(p.stdout.readline() == b"up\n", "the server does not start")
    return p


def components(place):
    return json.loads(netctl("--json", "status", sock=place.sock).stdout)["components"]


def pids(place):
    return {c["pid"] for c in components(place)}


def activated():
    with Place(devices="[{name: u0, ifname: u0, host_address: 10.98.0.1/24, addresses: [10.98.0.2/24]}]") as place:
        systemd = Systemd(place)
        p = systemd.start()
        until("it is ready", lambda: systemd.heard("READY", "1"))
        check(place.answers(), "ready, but it does not answer")
        until("its status is told", lambda: systemd.heard("STATUS", "netd-inet running, standby-1 standby, driver u0 running"))
        until("the watchdog is fed", lambda: systemd.heard("WATCHDOG", "1") >= 3)
        check(len(systemd.store) <= int(unit("FileDescriptorStoreMax")), len(systemd.store))
        check({"arena", "memory", "clock", "region.u0", "channel.inet.0", "pidfd.inet.0", "words.inet.0"} <= set(systemd.store), systemd.store)
        check(os.stat(place.sock) and "control" not in systemd.store and "activated" not in systemd.store, "its socket is systemd's")

        server = echo(place)
        client = socket.create_connection(("10.98.0.2", 7000), timeout=60)
        for _ in range(3):
            systemd.hear()
            before = pids(place)
            p.kill()
            p.wait()
            systemd.hear()
            client.sendall(b"alone")
            check(client.recv(100) == b"alone", "while there is no supervisor")
            systemd.said.clear()
            p = systemd.start()
            until("the next one is ready", lambda: systemd.heard("READY", "1"))
            until("it has them all", lambda: pids(place) == before and "no supervisor" not in netctl("status", sock=place.sock).stdout)
            client.sendall(b"again")
            check(client.recv(100) == b"again", "under the next supervisor")

        # The stated exception: connections are lost, but the interface is not, and it serves again.
        interface = open("/sys/class/net/u0/ifindex").read()
        for victim in [p.pid, *(c["pid"] for c in components(place) if "driver" not in c["name"])]:
            os.kill(victim, signal.SIGKILL)
        p.wait()
        systemd.hear()
        check(server.wait(60) != 0, "its connection lives without anybody who holds it")
        systemd.said.clear()
        p = systemd.start()
        until("the next one is ready", lambda: systemd.heard("READY", "1"))
        check(interface == open("/sys/class/net/u0/ifindex").read(), "the interface was made anew")
        client.close()
        server = echo(place)
        client = socket.create_connection(("10.98.0.2", 7000), timeout=60)
        client.sendall(b"afresh")
        check(client.recv(100) == b"afresh", "after the death of all")

        systemd.said.clear()
        p.send_signal(signal.SIGTERM)
        check(systemd.wait(p) == 0, p.returncode, place.said())
        check(systemd.heard("STOPPING", "1") == 1, systemd.said)
        check(not systemd.store, "left in the store:", systemd.store)
        check(os.path.exists(place.sock), "the socket is systemd's, and stays")
        client.close()
        server.kill()
        server.wait()
        until("nobody is left behind", lambda: not left_behind())
        check(not os.path.exists("/sys/class/net/u0"), "the TAP is left behind")


def never_ready():
    """A start that fails is told by the exit status, and leaves nothing in the store."""
    with Place(devices="[{name: u0, ifname: u0, netns: /run/netns/none}]") as place:
        systemd = Systemd(place)
        p = systemd.start()
        check(systemd.wait(p) == 1, p.returncode, place.said())
        check(not systemd.heard("READY") and not systemd.store, systemd.said, systemd.store)
        check("cannot enter network namespace" in place.said(), place.said())


activated()
never_ready()
print("activated, watched, killed and stopped as systemd would")
