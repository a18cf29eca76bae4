#!/bin/bash
# ping through a ping socket and through a raw socket, to the neighbour, to netd itself, and to nobody.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
need ping setpriv
no_route

# answers PROTO COMMAND...: all come back, with the time to live that the answerer set, through a socket of netd of this kind
answers() {
	proto=$1
	shift
	rm -f "$work/seen"
	(until netctl ss -a -w 2>/dev/null | grep -q "^$proto "; do sleep 0.01; done; : >"$work/seen") &
	pids="$pids $!"
	"$@" >"$work/ping.log" 2>&1 || { cat "$work/ping.log"; fail "$*"; }
	grep -q "$want packets transmitted, $want received, 0% packet loss" "$work/ping.log" || { cat "$work/ping.log"; fail "$*: lost"; }
	[ "$(grep -c "icmp_seq=.* ttl=64 time=" "$work/ping.log")" -eq "$want" ] || { cat "$work/ping.log"; fail "$*: answers"; }
	[ -e "$work/seen" ] || fail "no $proto socket was seen in netctl ss"
}

want=15
if [ "${STORM:-}" ]; then
	for who in 127.0.0.1 "$NETD" "$KERNEL"; do
		before=$(grep -c driver- "$work/kills")
		netctl run -- ping -c 60 -i 0.1 -W 5 "$who" >"$work/ping.log" 2>&1
		may=$(($(grep -c driver- "$work/kills") - before))
		[ "$who" = "$KERNEL" ] || may=0
		got=$(sed -n 's/.* \([0-9]*\) received.*/\1/p' "$work/ping.log")
		# A frame that a dying driver has in hand is lost, and ping does not send it again; there is one at a time.
		[ "${got:-0}" -ge $((60 - may)) ] || { cat "$work/ping.log"; fail "only $got of 60 came back from $who, and $may drivers died"; }
		! grep -q DUP "$work/ping.log" || fail "an answer came twice"
		echo "$who: $got of 60, $may drivers died"
	done
	exit 0
fi
answers icmp netctl run -- ping -c $want -i 0.05 "$KERNEL"
answers icmp netctl run -- ping -c $want -i 0.05 -s 4000 "$KERNEL"
answers icmp netctl run -- ping -c $want -i 0.05 "$NETD"
answers icmp netctl run -- ping -c $want -i 0.05 127.0.0.1
answers icmp netctl run -- ping -c $want -i 0.05 -I tap0 -p a5 "$KERNEL"
# Identifier 0 is not for ping sockets: ping takes a raw one, with its filter.
answers raw netctl run -- ping -c $want -i 0.05 -e 0 "$KERNEL"
answers raw netctl run -- ping -c $want -i 0.05 -e 0 "$NETD"

# The route and its times, told by the hosts it passes: there, answered, and back.
for ident in "" "-e 0"; do
	netctl run -- ping $ident -R -c 1 -W 5 "$KERNEL" >"$work/ping.log" 2>&1 || { cat "$work/ping.log"; fail "ping $ident -R"; }
	[ "$(sed -n '/^RR:/,/^$/p' "$work/ping.log" | tr -d '\tR:\n ')" = "$NETD$KERNEL$KERNEL$NETD" ] || { cat "$work/ping.log"; fail "ping $ident -R: the route"; }
	netctl run -- ping $ident -T tsandaddr -c 1 -W 5 "$KERNEL" >"$work/ping.log" 2>&1 || { cat "$work/ping.log"; fail "ping $ident -T"; }
	[ "$(sed -n '/^TS:/,/^$/p' "$work/ping.log" | grep -c "$NETD\|$KERNEL")" -eq 4 ] || { cat "$work/ping.log"; fail "ping $ident -T: the times"; }
done
$PEER ping -R -c 1 -W 5 "$NETD" >"$work/ping.log" 2>&1 || { cat "$work/ping.log"; fail "the kernel's ping -R"; }
[ "$(sed -n '/^RR:/,/^$/p' "$work/ping.log" | tr -d '\tR:\n ')" = "$KERNEL$NETD$NETD$KERNEL" ] || { cat "$work/ping.log"; fail "the kernel's ping -R: the route"; }
$PEER ping -T tsonly -s 4000 -c 1 -W 5 "$NETD" >"$work/ping.log" 2>&1 || { cat "$work/ping.log"; fail "the kernel's ping -T, in fragments"; }

# Nobody there: said by netd itself, by ICMP from the neighbour's side, or by silence.
netctl run -- ping -c 2 -i 0.2 -W 1 10.99.0.77 >"$work/ping.log" 2>&1 && fail "10.99.0.77 answered"
grep -q "0 received" "$work/ping.log" || { cat "$work/ping.log"; fail "nobody"; }

# Too long for the interface, and not to be cut.
for ident in "" "-e 0"; do
	netctl run -- ping $ident -M do -s 2000 -c 1 -W 1 "$KERNEL" >"$work/ping.log" 2>&1 && fail "2000 bytes in one frame"
	grep -q "message too long, mtu=1500" "$work/ping.log" || { cat "$work/ping.log"; fail "ping $ident -M do"; }
done

# Whose ping sockets work, and who may have a raw one.
chmod 755 "$work"
cp "$(command -v ping)" "$work/ping" # without the file's capabilities, which would make it deaf to LD_PRELOAD
setpriv --reuid 54321 --regid 54321 --clear-groups netctl run -- "$work/ping" -c 2 -i 0.2 "$KERNEL" >"$work/ping.log" 2>&1 ||
	{ cat "$work/ping.log"; fail "a ping socket needs no privilege"; }
setpriv --reuid 54321 --regid 54321 --clear-groups netctl run -- "$work/ping" -4 -c 2 -e 0 "$KERNEL" >"$work/ping.log" 2>&1 &&
	fail "a raw socket without privilege"
grep -q "Operation not permitted" "$work/ping.log" || { cat "$work/ping.log"; fail "not EPERM"; }
echo "ping and raw sockets: $((7 * want)) answers"
