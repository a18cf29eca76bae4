"""What is measured on both sides alike: each function takes a side and seconds, and returns a rate."""
import json
import os
import re
import shutil
import subprocess
import tempfile

from sides import BUILD, Server, sh

LOAD = os.path.join(BUILD, "tools", "benchload")


# ---- plain socket programs


def iperf(side, seconds, reverse):
    with Server(side, 5300, "iperf3", "-s", "-1", "-p", "5300"):
        r = subprocess.run(side.peer + ["iperf3", "-J", "-c", side.addr, "-p", "5300", "-t", str(seconds)] + (["-R"] if reverse else []),
                           capture_output=True, text=True, timeout=seconds + 30)
        answer = json.loads(r.stdout) if r.stdout.strip() else {}
        if "sum_received" not in answer.get("end", {}):
            raise SystemExit(f"bench: iperf3: {answer.get('error') or r.stderr.strip()}")
        return answer["end"]["sum_received"]["bits_per_second"] / 1e9


def load(side, seconds, what, *args):
    with Server(side, 7300, LOAD, "serve", "7300"):
        return float(sh(*side.peer, LOAD, what, side.addr, "7300", *args, str(seconds), timeout=seconds + 60))


# ---- nginx under wrk: a master and two workers, a page of 612 bytes

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
NGINX_CONF = """daemon off;
user nobody nogroup;
worker_processes 2;
pid {dir}/pid;
error_log {dir}/error.log;
worker_rlimit_nofile 65536;
events {{ worker_connections 8192; }}
http {{
	access_log off;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 100000000;
	client_body_temp_path {dir}/t; proxy_temp_path {dir}/t; fastcgi_temp_path {dir}/t; uwsgi_temp_path {dir}/t; scgi_temp_path {dir}/t;
	server {{ listen {addr}:8300 backlog=1024; root {dir}; }}
}}
"""


def nginx(side, seconds, *headers):
    with tempfile.TemporaryDirectory(prefix="netd-bench.") as where:
        os.chmod(where, 0o755)
        with open(f"{where}/index.html", "w") as f:
            f.write("x" * 612)
        with open(f"{where}/conf", "w") as f:
            f.write(NGINX_CONF.format(dir=where, addr=side.addr))
        with Server(side, 8300, NGINX, "-c", f"{where}/conf", "-e", f"{where}/error.log"):
            said = sh(*side.peer, "wrk", "-t", "1", "-c", "64", "-d", str(seconds), *headers, f"http://{side.addr}:8300/", timeout=seconds + 30)
    wrong = re.search(r"Non-2xx.*|Socket errors: .*", said)
    if wrong:
        raise SystemExit(f"bench: wrk on {side.name}: {wrong[0]}")
    return float(re.search(r"Requests/sec: *([0-9.]+)", said)[1])


# ---- redis under its own benchmark, which counts instead of looking at a clock


def redis(side, seconds, test, pipeline):
    with tempfile.TemporaryDirectory(prefix="netd-bench.") as where, \
            Server(side, 6300, "redis-server", "--bind", side.addr, "--port", "6300", "--save", "", "--appendonly", "no",
                   "--protected-mode", "no", "--dir", where):
        n = int(seconds * (50000 if pipeline == 1 else 500000))
        said = sh(*side.peer, "redis-benchmark", "-h", side.addr, "-p", "6300", "-c", "50", "-n", str(n), "-P", str(pipeline),
                  "-t", test, "--csv", timeout=120)
    row = next((line for line in said.splitlines() if line.lower().startswith(f'"{test}"')), None)
    if not row:
        raise SystemExit(f"bench: redis-benchmark on {side.name}: {said.strip()}")
    return float(row.split(",")[1].strip('"'))


# name: unit, the ratio aimed for (None: none), measure
RATES = {
    "bulk-in": ("Gbit/s", 0.7, lambda side, t: iperf(side, t, False)),
    "bulk-out": ("Gbit/s", 0.7, lambda side, t: iperf(side, t, True)),
    "rr1": ("req/s", None, lambda side, t: load(side, t, "ask", "1")),
    "rr64": ("req/s", None, lambda side, t: load(side, t, "ask", "64")),
    "connect": ("conn/s", 1.0, lambda side, t: load(side, t, "connect")),
    "nginx": ("req/s", 1.0, nginx),
    "nginx-close": ("conn/s", 1.0, lambda side, t: nginx(side, t, "-H", "Connection: close")),
    "redis-get": ("req/s", 1.0, lambda side, t: redis(side, t, "get", 1)),
    "redis-set": ("req/s", 1.0, lambda side, t: redis(side, t, "set", 1)),
    "redis-get-16": ("req/s", 1.0, lambda side, t: redis(side, t, "get", 16)),
    "redis-set-16": ("req/s", 1.0, lambda side, t: redis(side, t, "set", 16)),
}
