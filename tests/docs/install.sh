#!/bin/bash
# `cmake --install` into a prefix of its own: everything is there, it works from there, a changed configuration stays.
# usage: install.sh BUILD-DIR SOURCE-DIR
set -u
build=$1 source=$2
work=$(mktemp -d /tmp/netd-install.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0
complain() {
	echo "install: $*"
	bad=1
}
prefix=$work/usr
install() { # [PREFIX]
	cmake --install "$build" --prefix "${1:-$prefix}" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
}
install
have() { # PATTERN...: under the prefix, each exactly one file that is not empty
	local p
	for p; do
		[ "$(find "$prefix" -path "$prefix/$p" -size +0 \( -type f -o -type l \) | wc -l)" -eq 1 ] || complain "$p is not installed"
	done
}
have bin/netd bin/netd-inet bin/netd-tap bin/netctl 'lib*/libnetd.a' 'lib*/libnetd.so' 'lib*/libnetd.so.0' \
	'lib*/libnetd-preload.so' include/netd/netd.h 'lib*/pkgconfig/netd.pc' etc/netd/netd.yaml \
	share/man/man1/netctl.1 share/man/man3/libnetd.3 share/man/man5/netd.yaml.5 share/man/man7/netd-preload.7 \
	share/man/man8/netd.8 lib/systemd/system/netd.service lib/systemd/system/netd.socket
# Every driver that the build has.
for driver in "$build"/drivers/netd-*; do
	[ ! -x "$driver" ] || [ -d "$driver" ] || have "bin/${driver##*/}"
done
# Every manual page that the source has.
for page in $(cd "$source" && git ls-files '*.[1-8]' 2>/dev/null); do
	have "share/man/man${page##*.}/${page##*/}"
done

"$prefix/bin/netd" --version >/dev/null || complain "netd does not run"
"$prefix/bin/netctl" --version >/dev/null || complain "netctl does not run"
"$prefix/bin/netd" --config "$prefix/etc/netd/netd.yaml" --check-config >/dev/null || complain "the configuration is not sound"
grep -qx "ExecStart=$prefix/bin/netd --config $prefix/etc/netd/netd.yaml" "$prefix/lib/systemd/system/netd.service" ||
	complain "the unit does not start what was installed"
! grep -rn '@[A-Z_]*@' "$prefix/lib/systemd" "$prefix/etc" || complain "placeholders are left"
if command -v systemd-analyze >/dev/null; then
	said=$(systemd-analyze verify "$prefix/lib/systemd/system/netd.service" "$prefix/lib/systemd/system/netd.socket" 2>&1 | grep -F netd.)
	[ -z "$said" ] || complain "systemd-analyze: $said"
fi

echo "# mine" >>"$prefix/etc/netd/netd.yaml"
install
grep -q '^# mine' "$prefix/etc/netd/netd.yaml" || complain "a changed configuration was overwritten"
# A package's way: the prefix is /usr, the place is DESTDIR.
export DESTDIR=$work/package
install /usr
[ -s "$DESTDIR/etc/netd/netd.yaml" ] || complain "with the prefix /usr the configuration is not in /etc"
grep -qx "ExecStart=/usr/bin/netd --config /etc/netd/netd.yaml" "$DESTDIR/usr/lib/systemd/system/netd.service" ||
	complain "with the prefix /usr the unit starts something else"
exit $bad
