#!/bin/bash
# The manual pages: sound, and nothing missing. usage: man.sh SOURCE-DIR NETCTL
set -u
cd "$1" || exit 1
bad=0
complain() {
	echo "man: $*"
	bad=1
}
command -v mandoc >/dev/null || { echo "skipped: no mandoc here"; exit 77; }
for page in tools/netctl/netctl.1 netd/supervisor/netd.8 netd/supervisor/netd.yaml.5 clientlib/libnetd.3 clientlib/preload/netd-preload.7; do
	[ -z "$(mandoc -T lint -W warning "$page")" ] || complain "$(mandoc -T lint -W warning "$page")"
done
commands=$("$2" --help | sed -n 's/^  \([a-z]*\) .*/\1/p')
[ "$(echo "$commands" | wc -l)" -gt 5 ] || complain "netctl --help lists no commands"
for c in $commands; do
	grep -qE "^\.It Cm $c( |$)" tools/netctl/netctl.1 || complain "netctl $c is not in netctl.1"
done
keys=$(sed -nE 's/^ *(TEXT|TEXT_NEEDED|NUMBER|LIST)\(([a-z_]+),.*/\2/p; s/.*CYAML_FIELD_[A-Z_]+\( *"([a-z_]+)".*/\1/p; s/^ *"([a-z_]+)", CYAML_FLAG_POINTER.*/\1/p' netd/supervisor/config.c | sort -u)
[ "$(echo "$keys" | wc -l)" -gt 20 ] || complain "no configuration keys found"
for k in $keys; do
	grep -qE "^\.I[tc].* $k( |$)|Ic $k( |$)" netd/supervisor/netd.yaml.5 || complain "the key $k is not in netd.yaml.5"
done
for f in $(grep -oE '\bnetd_[a-z0-9_]+\(' clientlib/include/netd/netd.h | tr -d '(' | sort -u); do
	grep -q "^\.Fn $f\( \|$\)" clientlib/libnetd.3 || complain "$f() is not in libnetd.3"
done
exit $bad
