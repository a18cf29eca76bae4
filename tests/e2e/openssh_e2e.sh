#!/bin/bash
# OpenSSH on netd: the server starts itself anew for each connection, with the socket, and parts its privileges; a command,
# files there and back by scp and sftp, a port forwarded through it.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
sshd=$(command -v sshd || echo /usr/sbin/sshd)
need "$sshd" ssh scp sftp ssh-keygen python3
[ "$(id -u)" = 0 ] || { echo "skipped: sshd wants root"; exit 0; }
mkdir -p -m 755 /run/sshd
chmod 755 "$work"
head -c 6000000 /dev/urandom >"$work/data"
ssh-keygen -q -t ed25519 -N '' -f "$work/host" && ssh-keygen -q -t ed25519 -N '' -f "$work/key" || fail "keys"
cp "$work/key.pub" "$work/authorized"
cat >"$work/sshd_config" <<CFG
ListenAddress $NETD:2200
HostKey $work/host
AuthorizedKeysFile $work/authorized
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
Subsystem sftp internal-sftp
CFG
start sshd netctl run -- "$sshd" -D -e -f "$work/sshd_config"
listening 2200
options="-i $work/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=$work/known -o BatchMode=yes -o LogLevel=ERROR"
both() {
	for side in "$PEER" "netctl run --"; do
		[ "$($side ssh $options -p 2200 "root@$NETD" 'echo hello from $((6 * 7))')" = "hello from 42" ] || return 1
		rm -f "$work/there" "$work/back"
		$side scp -q $options -P 2200 "$work/data" "root@$NETD:$work/there" && cmp "$work/there" "$work/data" || return 1
		echo "get $work/there $work/back" | $side sftp -q $options -P 2200 -b - "root@$NETD" >/dev/null &&
			cmp "$work/back" "$work/data" || return 1
		[ "$($side ssh $options -p 2200 "root@$NETD" "cat >$work/there; sha256sum <$work/there" <"$work/data")" = "$(sha256sum <"$work/data")" ] || return 1
	done
}
through 2200 both || fail "a shell, scp or sftp"
echo "a command, files there and back, from both sides"
mkdir "$work/www"
cp "$work/data" "$work/www"
start web netctl run -- python3 -m http.server --bind "$NETD" --directory "$work/www" 8000
listening 8000
start tunnel $PEER ssh $options -N -p 2200 -L "$KERNEL:8100:$NETD:8000" "root@$NETD"
soon $PEER curl -sf -o /dev/null "http://$KERNEL:8100/" || fail "the tunnel does not open"
for i in 1 2 3; do
	$PEER curl -sS -m 60 -o "$work/back" "http://$KERNEL:8100/data" && cmp "$work/back" "$work/data" || fail "through the tunnel"
done
echo "three files through a forwarded port"
