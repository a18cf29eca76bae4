#!/bin/bash
# Programs on netd find names through the name servers of netd's configuration: getaddrinfo() and gethostbyname(), in all
# their forms. In a lab of its own, whose netd knows a name server at its neighbour.
# timeout: 60
. "$(dirname "$0")/apps.sh"
dnsmasq=$(command -v dnsmasq || echo /usr/sbin/dnsmasq)
need "$dnsmasq" python3
cat >"$work/netd.yaml" <<YAML
standbys: 1
devices:
  - {name: tap0, driver: tap, ifname: netd0, host_address: $KERNEL/24, addresses: [$NETD/24]}
name_servers: [$KERNEL]
YAML
cat >"$work/ask.py" <<'PY'
import ctypes, errno, socket, sys
name, want = "host.one.test", ["192.0.2.1"]
infos = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
assert [i[4] for i in infos] == [("192.0.2.1", 80)], infos
assert socket.gethostbyname(name) == want[0]
assert socket.gethostbyname_ex(name) == (name, [], want)
for missing in (socket.gethostbyname_ex, lambda n: socket.getaddrinfo(n, 80)):
    try: sys.exit("found: %r" % (missing("nobody.two.test"),))
    except socket.gaierror: pass
    except socket.herror: pass
libc = ctypes.CDLL(None)
libc.gethostbyname.restype = ctypes.POINTER(ctypes.c_void_p)
assert libc.gethostbyname(b"host.one.test") and not libc.gethostbyname(b"nobody.two.test")
# A buffer that is too small says so, and no more is written.
entry, buf, result, err = (ctypes.c_void_p * 4)(), ctypes.create_string_buffer(600), ctypes.c_void_p(), ctypes.c_int()
assert libc.gethostbyname_r(name.encode(), entry, buf, 8, ctypes.byref(result), ctypes.byref(err)) == errno.ERANGE
assert libc.gethostbyname_r(name.encode(), entry, buf, 600, ctypes.byref(result), ctypes.byref(err)) == 0 and result.value
assert socket.gethostbyname_ex("127.0.0.1")[2] == ["127.0.0.1"] and socket.gethostbyname("localhost") == "127.0.0.1"
print("names by getaddrinfo() and gethostbyname()")
PY
cat >"$work/inner.sh" <<SH
\$PEER $dnsmasq -k -C /dev/null -u root --no-resolv --no-hosts --bind-interfaces --listen-address=$KERNEL \\
	--address=/one.test/192.0.2.1 --address=/two.test/ --pid-file=$work/pid --log-facility=- >$work/dnsmasq.log 2>&1 &
for i in \$(seq 200); do \$PEER sh -c "ss -lnu | grep -q $KERNEL:53" && break; sleep 0.05; done
netctl run -- /usr/bin/python3 $work/ask.py
SH
"$(dirname "$0")/../../tools/lab" --config "$work/netd.yaml" -- sh "$work/inner.sh" || fail "the names"
