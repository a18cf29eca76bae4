#!/bin/bash
# Python's own servers on netd: asyncio, threads, processes; and requests to them from both sides.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
need python3
python=/usr/bin/python3
cat >"$work/server.py" <<'PY'
import asyncio, http.server, multiprocessing, os, socket, socketserver, sys, threading
addr = sys.argv[1]

class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = (self.path * 1000).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a):
        pass

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"%d " % os.getpid() + line)

class Forking(socketserver.ForkingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    max_children = 100

def worker(listener):
    while True:
        c, _ = listener.accept()
        with c:
            c.sendall(b"%d " % os.getpid() + c.recv(100))

async def aio():
    async def echo(r, w):
        while data := await r.read(65536):
            w.write(data)
            await w.drain()
        w.close()
    s = await asyncio.start_server(echo, addr, 7100)
    async with s:
        await s.serve_forever()

if __name__ == "__main__":
    listener = socket.create_server((addr, 7103))
    multiprocessing.set_start_method("fork")
    for _ in range(3):
        multiprocessing.Process(target=worker, args=(listener,), daemon=True).start()
    threading.Thread(target=http.server.ThreadingHTTPServer((addr, 7101), Hello).serve_forever, daemon=True).start()
    threading.Thread(target=Forking((addr, 7102), Echo).serve_forever, daemon=True).start()
    asyncio.run(aio())
PY
cat >"$work/client.py" <<'PY'
import asyncio, concurrent.futures, hashlib, os, socket, sys, urllib.request
addr = sys.argv[1]
blob = os.urandom(300000)

async def one(i):
    r, w = await asyncio.open_connection(addr, 7100)
    async def send():
        for _ in range(5):
            w.write(blob)
            await w.drain()
        w.write_eof()
    task = asyncio.create_task(send())
    got = await r.read(-1)
    await task
    w.close()
    assert hashlib.sha256(got).digest() == hashlib.sha256(blob * 5).digest(), len(got)

async def many():
    await asyncio.gather(*(one(i) for i in range(20)))

def get(i):
    path = "/%d" % i
    assert urllib.request.urlopen("http://%s:7101%s" % (addr, path), timeout=30).read() == (path * 1000).encode()

def lines(i):
    with socket.create_connection((addr, 7102), timeout=30) as s, s.makefile("rwb") as f:
        pids = set()
        for k in range(10):
            f.write(b"%d-%d\n" % (i, k))
            f.flush()
            pid, rest = f.readline().split(b" ", 1)
            assert rest == b"%d-%d\n" % (i, k), rest
            pids.add(pid)
        assert len(pids) == 1
        return pids.pop()

def work(i):
    with socket.create_connection((addr, 7103), timeout=30) as s:
        s.sendall(b"hello%d" % i)
        pid, rest = s.recv(100).split(b" ", 1)
        assert rest == b"hello%d" % i
        return pid

asyncio.run(many())
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(get, range(200)))
    forked = set(pool.map(lines, range(40)))
    workers = set(pool.map(work, range(120)))
assert len(forked) == 40, forked
assert 1 <= len(workers) <= 3, workers
print("20 asyncio streams, 200 requests to threads, 40 forked servers, 120 requests to %d workers" % len(workers))
PY
start server netctl run -- $python "$work/server.py" "$NETD"
for p in 7100 7101 7102 7103; do listening $p; done
through 7100 $PEER $python "$work/client.py" "$NETD" || fail "the kernel's client"
netctl run -- $python "$work/client.py" "$NETD" || fail "netd's client"
