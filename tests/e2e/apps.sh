# Sourced by the tests of real programs, which run in the lab:
#
#   "peer" namespace                       application namespace, no routes
#   kernel 10.99.0.1 -- TAP -- netd 10.99.0.2 -- client memory -- program under `netctl run`
#
# What runs by $PEER is on the kernel's stack, what runs by `netctl run` is on netd's.
#
# With STORM=1 netd-inet is killed about three times a second and each driver about once, by SIGKILL, as long as the
# test runs: it must end as well as without.
set -u
NETD=10.99.0.2
KERNEL=10.99.0.1
work=$(mktemp -d /tmp/netd-apps.XXXXXX)
pids=

finish() {
	status=$?
	if [ "${STORM:-}" ] && [ "$status" -eq 0 ]; then
		kills=$(wc -l <"$work/kills")
		echo "$kills components were killed meanwhile"
		[ "$kills" -gt 2 ] || { echo "FAILED: too few kills to mean anything"; status=1; }
	fi
	for p in $pids; do kill "$p" 2>/dev/null; done
	wait 2>/dev/null
	[ "$status" -eq 0 ] || tail -n 20 "$work"/*.log "$NETD_LAB_DIR/netd.log" 2>/dev/null
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

fail() {
	echo "FAILED: $*"
	exit 1
}
# need PROGRAM...: the test is skipped where one is missing
need() {
	for p; do command -v "$p" >/dev/null || { echo "skipped: no $p here"; exit 0; }; done
}
# start NAME COMMAND...: in the background, its output in NAME.log
start() {
	log=$work/$1.log
	shift
	"$@" >"$log" 2>&1 &
	pids="$pids $!"
}
# soon COMMAND...: true within ten seconds
soon() {
	for _ in $(seq 200); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.05
	done
	return 1
}
# seen STATE PORT: netd has a socket in this state with this port
seen() {
	netctl ss -a 2>/dev/null | grep "$1" | grep -q ":$2\b"
}
listening() {
	soon seen LISTEN "$1" || fail "nothing listens on netd's port $1: $(netctl ss -a 2>&1)"
}
# proof FILE PORT &: notes whether a connection of this port shows in netctl ss while it lasts
watch_port() {
	(while :; do
		seen ESTAB "$2" && { : >"$1"; break; }
		sleep 0.02
	done) &
	pids="$pids $!"
}
# through PORT COMMAND...: runs the command; a connection of this port must show in netctl ss meanwhile
through() {
	watch_port "$work/seen-$1" "$1"
	"${@:2}" || return 1
	[ -e "$work/seen-$1" ] || fail "no connection of port $1 was seen in netctl ss"
}

# no_route: the kernel has no way out of here, so whatever is answered went through netd
no_route() {
	[ -z "$(ip route)" ] || fail "the kernel has routes here: $(ip route)"
}

storm() {
	n=0
	while sleep 0.3; do
		n=$((n + 1))
		for f in "$NETD_PIDFILE_DIR"/inet.pid $([ $((n % 3)) -ne 0 ] || echo "$NETD_PIDFILE_DIR"/driver-*.pid); do
			p=$(cat "$f" 2>/dev/null) && kill -9 "$p" 2>/dev/null && echo "$f" >>"$work/kills"
		done
	done
}
if [ "${STORM:-}" ]; then
	: >"$work/kills"
	storm &
	pids="$pids $!"
fi
