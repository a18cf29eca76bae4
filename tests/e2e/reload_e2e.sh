#!/bin/bash
# SIGHUP: addresses, routes and a device come and go with the configuration; what netctl added stays; a kill in between
# changes nothing; a file that is not sound changes nothing.
. "$(dirname "$0")/apps.sh"
supervisor=$(<"$NETD_PIDFILE_DIR/supervisor.pid")
config=$(tr '\0' '\n' <"/proc/$supervisor/cmdline" | grep '\.yaml$')
cp "$config" "$work/first"

# within COMMAND...: it comes true soon
within() {
	for _ in $(seq 200); do
		"$@" 2>/dev/null && return
		sleep 0.02
	done
	fail "not so: $*"
}
has() { netctl "$1" | tr -s ' ' | grep -qF -- "$2"; }
has_not() { ! has "$@"; }
answers() { $PEER ping -c 1 -W 1 "$1" >/dev/null; }
reload() {
	cat >"$config.new" && mv "$config.new" "$config"
	kill -HUP "$supervisor"
}
another_than() { [ "$(<"$NETD_PIDFILE_DIR/inet.pid")" != "$1" ]; }
kill_inet() {
	local old=$(<"$NETD_PIDFILE_DIR/inet.pid")
	kill -9 "$old"
	within another_than "$old"
}

netctl addr add 10.99.0.88/24 dev tap0 || fail "netctl addr add"
sed 's#addresses: \[10.99.0.2/24\]#addresses: [10.99.0.2/24, 10.99.0.77/24]#; s#^routes:#&\n  - {destination: 10.5.0.0/16, gateway: 10.99.0.1, device: tap0}#' \
	"$work/first" >"$work/more"
reload <"$work/more"
within has addr "tap0 10.99.0.77/24"
within has route "10.5.0.0/16 10.99.0.1 tap0"
within answers 10.99.0.77
kill_inet
within has addr "tap0 10.99.0.77/24"

# netd-inet is told of a configuration, and dies before it can look at it.
while_it_is_stopped() {
	local old=$(<"$NETD_PIDFILE_DIR/inet.pid")
	kill -STOP "$old"
	reload
	within another_than "$old" # it is killed as hung
}
while_it_is_stopped <"$work/first"
within has_not addr "10.99.0.77"
within has_not route "10.5.0.0/16"
while_it_is_stopped <"$work/more"
within has addr "tap0 10.99.0.77/24"
within has route "10.5.0.0/16 10.99.0.1 tap0"
has addr "tap0 10.99.0.88/24" || fail "what netctl added is gone"

echo "nonsense: [" | reload
sleep 0.2
has addr "tap0 10.99.0.77/24" || fail "a file that is not sound changed something"

sed 's#^routes:#  - {name: tap9, driver: tap, ifname: netd9, addresses: [10.77.0.2/24]}\n&#' "$work/first" | reload
within has addr "tap9 10.77.0.2/24"
within has_not addr "10.99.0.77"
within has_not route "10.5.0.0/16"
within has status "driver tap9"
$PEER ip addr add 10.77.0.1/24 dev netd9
within answers 10.77.0.2
kill_inet
within answers 10.77.0.2

# What the process has, and what its autogroup has where there are any.
nice_is() {
	local pid=$(<"$NETD_PIDFILE_DIR/$2.pid")

	[ "$(ps -o ni= -p "$pid" | tr -d ' ')" = "$1" ] || return 1
	[ ! -e "/proc/$pid/autogroup" ] || [[ $(<"/proc/$pid/autogroup") = *" nice $1" ]]
}
sed '1i nice: 5' "$config" | reload
within nice_is 5 inet
within nice_is 5 driver-tap0
kill_inet
within nice_is 5 inet
sed -i '1d' "$config"

# It comes back under the same name, with another region; each time as if it were the first.
for round in 1 2 3; do
	cp "$config" "$work/second"
	reload <"$work/first"
	within has_not status "driver tap9"
	within has_not addr "10.77.0.2"
	within has_not route "10.77.0.0/24"
	reload <"$work/second"
	within has status "driver tap9"
	within $PEER ip addr add 10.77.0.1/24 dev netd9
	within answers 10.77.0.2
	[ "$round" = 1 ] || kill_inet
	within answers 10.77.0.2
done
reload <"$work/first"
within has_not status "driver tap9"
kill_inet
within has_not addr "10.77.0.2"
has addr "tap0 10.99.0.88/24" || fail "what netctl added is gone"
within answers 10.99.0.88
within answers 10.99.0.2
echo "addresses, routes and a device came and went"
