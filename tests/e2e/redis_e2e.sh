#!/bin/bash
# redis-server on netd with redis-benchmark and redis-cli at both ends, pipelining, a snapshot by fork.
# timeout: 180
# storm: yes
. "$(dirname "$0")/apps.sh"
need redis-server redis-benchmark redis-cli
start redis netctl run -- redis-server --bind "$NETD" --port 6379 --save '' --dir "$work" --protected-mode no
listening 6379
kcli() { $PEER redis-cli -h "$NETD" "$@"; }
ncli() { netctl run -- redis-cli -h "$NETD" "$@"; }
[ "$(kcli ping)" = PONG ] || fail "no PONG for the kernel's client"
[ "$(ncli ping)" = PONG ] || fail "no PONG for netd's client"
kcli set key "$(head -c 3000 /dev/zero | tr '\0' x)" >/dev/null
[ "$(ncli strlen key)" = 3000 ] || fail "the value is not there"

bench() {
	echo "redis-benchmark: $*"
	"$@" >"$work/bench.log" 2>&1 || { cat "$work/bench.log"; fail "redis-benchmark"; }
	! grep -qiE 'error|reset' "$work/bench.log" || { cat "$work/bench.log"; fail "errors"; }
	tr '\r' '\n' <"$work/bench.log" | grep 'requests per second'
}
watch_port "$work/seen-1" 6379
bench $PEER redis-benchmark -h "$NETD" -q -n 20000 -c 50 -t set,get,lrange_100
[ -e "$work/seen-1" ] || fail "no connection was seen in netctl ss"
bench netctl run -- redis-benchmark -h "$NETD" -q -n 20000 -c 20 -t set,get
bench $PEER redis-benchmark -h "$NETD" -q -n 100000 -c 20 -P 16 -t set,get
bench netctl run -- redis-benchmark -h "$NETD" -q -n 20000 -c 20 --threads 3 -t get
bench $PEER redis-benchmark -h "$NETD" -q -n 50 -c 5 -d 1000000 -t set,get

echo "a snapshot by a forked child while the parent serves"
kcli bgsave >/dev/null || fail "bgsave"
soon sh -c "$PEER redis-cli -h $NETD info persistence | grep -q rdb_last_bgsave_status:ok" || fail "the snapshot"
[ "$(kcli ping)" = PONG ] || fail "no PONG after the fork"
[ -s "$work/dump.rdb" ] || soon test -s "$work/dump.rdb" || fail "no snapshot was written"
echo "what it wrote, read by another one"
start again netctl run -- redis-server --bind "$NETD" --port 6380 --save '' --dir "$work" --protected-mode no
listening 6380
soon sh -c "[ \"\$($PEER redis-cli -h $NETD -p 6380 strlen key)\" = 3000 ]" || fail "the snapshot has not got the key"
