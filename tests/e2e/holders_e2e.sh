#!/bin/bash
# Processes that hold sockets together are killed in the middle of using them: nothing of what they held is left in netd.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
need python3
cat >"$work/holders.py" <<'PY'
import os, select, signal, socket, sys
PAIRS, HOLDERS, ROUNDS = 12, 4, 8
address = sys.argv[1]

def use(pairs, tell):
    os.write(tell, b"!")
    while True:
        for c, a in pairs:
            for call in (lambda: a.recv(100000, socket.MSG_DONTWAIT), lambda: c.send(b"y" * 5000, socket.MSG_DONTWAIT)):
                try: call()
                except BlockingIOError: pass

def family():
    listener, pairs = socket.create_server((address, 0)), []
    for _ in range(PAIRS):
        c = socket.create_connection(listener.getsockname())
        pairs.append((c, listener.accept()[0]))
        c.setblocking(False)
        try:
            while c.send(b"x" * 65536): pass
        except BlockingIOError: pass
    hear, tell = os.pipe()
    children = []
    for _ in range(HOLDERS):
        children.append(os.fork())
        if not children[-1]: use(pairs, tell)
    for _ in children: os.read(hear, 1)  # each of them is at it
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.kill(os.getpid(), signal.SIGKILL)

for _ in range(ROUNDS):
    pid = os.fork()
    if not pid: family()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
PY
held() { netctl stats | grep -E '^held\.(session|holder|token|sock|sockx|tcp|tcpx|errq|ring_bytes) '; }
held >"$work/before" || fail "netctl stats"
netctl run -- /usr/bin/python3 "$work/holders.py" "$NETD" || fail "the families"
same() { held >"$work/after" && cmp "$work/before" "$work/after"; }
soon same || fail "left behind: $(diff "$work/before" "$work/after")"
echo "8 families of 5 processes on 24 sockets each, all killed: nothing is left"
