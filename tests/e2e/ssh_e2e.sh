#!/bin/bash
# A secure shell on netd: the server forks for each connection; a command, a file there and back.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
dropbear=$(command -v dropbear || echo /usr/sbin/dropbear)
need "$dropbear" dropbearkey dbclient dropbearconvert
mkdir -m 700 "$work/home" "$work/home/.ssh"
head -c 8000000 /dev/urandom >"$work/data"
dropbearkey -t ed25519 -f "$work/host" >/dev/null 2>&1 && dropbearkey -t ed25519 -f "$work/key" >"$work/pub" 2>/dev/null || fail "keys"
mkdir -p ~/.ssh && chmod 700 ~/.ssh
keys=~/.ssh/authorized_keys
line="$(grep '^ssh-ed25519' "$work/pub")"
echo "$line" >>"$keys"
chmod 600 "$keys"
unauthorise() {
	grep -vxF "$line" "$keys" >"$keys.new"
	mv "$keys.new" "$keys"
	[ -s "$keys" ] || rm -f "$keys"
	finish
}
trap unauthorise EXIT
start dropbear netctl run -- "$dropbear" -F -E -s -r "$work/host" -p "$NETD:2222" -P "$work/pid"
listening 2222
sh_() { $1 dbclient -y -y -i "$work/key" -p 2222 "$(id -un)@$NETD" "${@:2}" 2>>"$work/client.log"; }
both() {
	for side in "$PEER" "netctl run --"; do
		[ "$(sh_ "$side" 'echo hello from $((6 * 7))' </dev/null)" = "hello from 42" ] || return 1
		sh_ "$side" "cat >$work/there" <"$work/data" && cmp "$work/there" "$work/data" || return 1
		sh_ "$side" "cat $work/there" </dev/null >"$work/back" && cmp "$work/back" "$work/data" || return 1
	done
}
through 2222 both || { cat "$work/client.log"; fail "the shell"; }
echo "a command, a file there and back, from both sides"
