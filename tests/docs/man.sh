#!/bin/bash
# The manual pages: sound, and nothing missing: every command, word and option of netctl, every option of netd, every
# configuration key with its default and range, every public function, every variable of the environment.
# usage: man.sh SOURCE-DIR NETCTL NETD
set -u
cd "$1" || exit 1
netctl=$2 netd=$3
bad=0
complain() {
	echo "man: $*"
	bad=1
}
enough() { # WHAT COUNT LEAST: a pattern that finds nothing any more must not pass
	[ "$2" -ge "$3" ] || complain "found only $2 $1"
}
command -v mandoc >/dev/null || { echo "skipped: no mandoc here"; exit 77; }
work=$(mktemp -d /tmp/netd-man.XXXXXX)
trap 'rm -rf "$work"' EXIT
pages=(tools/netctl/netctl.1 netd/supervisor/netd.8 netd/supervisor/netd.yaml.5 clientlib/libnetd.3 clientlib/preload/netd-preload.7)
for page in "${pages[@]}"; do
	said=$(mandoc -T lint -W warning "$page")
	[ -z "$said" ] || complain "$said"
	mandoc -T utf8 "$page" | col -b >"$work/${page##*/}" || complain "$page cannot be rendered"
done

# netctl: the table of commands (those that --help does not list, too), the words of addr, route and neigh, ss's letters.
page=tools/netctl/netctl.1
commands=$(sed -nE 's/^\t\{"([a-z]+)", cmd_.*/\1/p' tools/netctl/main.c)
enough "commands" "$(echo "$commands" | wc -l)" 10
for c in $commands; do
	grep -qE "^\.(It )?Cm $c( |$)" $page || complain "netctl $c is not in $page"
done
words=$(grep -oE '\{"[a-z]+", &w->' tools/netctl/ip.c | tr -dc 'a-z\n' | sed 's/w$//'; grep -oE 'is\(argv\[1\], "[a-z]+", "[a-z]+"' tools/netctl/ip.c | grep -oE '"[a-z]+"' | tr -d '"')
enough "words" "$(echo "$words" | wc -l)" 9
for w in $(echo "$words" | sort -u); do
	grep -qE "Cm ([a-z]+ )*(\| )?$w( |$)|Cm [a-z]+ $w( |$)|Cm show \| $w( |$)" $page || complain "netctl's word $w is not in $page"
done
letters=$(sed -nE "s/^\t*case '(.)': .*/\1/p" tools/netctl/ss.c)
enough "options of ss" "$(echo "$letters" | wc -l)" 6
for l in $letters; do
	grep -qE "^\.It Fl $l$" $page || complain "ss -$l is not in $page"
done
for o in $(grep -oE '"--?[a-z]+"' tools/netctl/main.c | tr -d '"' | sort -u); do
	[ "$o" = -- ] || grep -qE "Fl ${o#-}( |$)" $page || complain "netctl $o is not in $page"
done
[ "$("$netctl" --help | grep -c '^  [a-z]')" -ge 9 ] || complain "netctl --help lists too little"

options=$("$netd" --help | grep -oE -- '--[a-z-]+' | sort -u)
enough "options of netd" "$(echo "$options" | wc -l)" 5
for o in $options; do
	grep -qE "Fl ${o#-}( |$)" netd/supervisor/netd.8 || complain "netd $o is not in netd.8"
done

# The configuration: each key has an entry of its own, which says the range that --check-config enforces, and the default.
page=netd/supervisor/netd.yaml.5
schema=netd/supervisor/config.c
keys=$(sed -nE 's/^ *(TEXT|TEXT_NEEDED|NUMBER|LIST)\(([a-z_]+),.*/\2/p; s/.*CYAML_FIELD_[A-Z_]+\( *"([a-z_]+)".*/\1/p; s/^ *"([a-z_]+)", CYAML_FLAG_POINTER.*/\1/p' $schema | sort -u)
enough "configuration keys" "$(echo "$keys" | wc -l)" 35
entry() { # KEY: what the page says about it
	awk -v key="$1" '/^\.It / {on = 0; for (i = 2; i <= NF; i++) if ($i == key && $2 == "Ic") on = 1} on' $page
}
for k in $keys; do
	[ -n "$(entry "$k")" ] || complain "the key $k is not in $page"
done
while read -r key value; do
	entry "$key" | grep -qE "default:? $value\b" || complain "$page does not say that $key is $value by default"
done < <(sed -nE 's/.*number_default\(&[a-z]+->(limits\.)?([a-z_]+), ([0-9]+)\);/\2 \3/p; s/.*\*c->([a-z]+) = (-?[0-9]+);/\1 \2/p' netd/supervisor/config_check.c)
# A number too large is refused with the range.
ranges=0
while read -r key; do
	case $key in
	mtu | chunks | txqueuelen) printf 'devices:\n  - {name: tap0, %s: 4294967295}\n' "$key" ;;
	metric) continue ;;
	port) printf 'devices: [{name: tap0}]\npass_through: [{address: 127.0.0.1, port: 4294967295}]\n' ;;
	session_* | user_* | *_kib) printf 'devices: [{name: tap0}]\nlimits: {%s: 4294967295}\n' "$key" ;;
	*) printf 'devices: [{name: tap0}]\n%s: 4294967295\n' "$key" ;;
	esac >"$work/netd.yaml"
	range=$("$netd" --config "$work/netd.yaml" --check-config 2>&1 | sed -nE 's/.* is not between ([0-9]+) and ([0-9]+)$/\1 to \2/p')
	if [ -z "$range" ]; then
		complain "netd takes any number for $key: $("$netd" --config "$work/netd.yaml" --check-config 2>&1)"
	else
		ranges=$((ranges + 1))
		entry "$key" | grep -qE "\b$range\b" || complain "$page does not say that $key is $range"
	fi
done < <(sed -nE 's/^ *NUMBER\(([a-z_]+),.*/\1/p; s/.*CYAML_FIELD_UINT_PTR\("([a-z_]+)".*/\1/p' $schema)
enough "ranges" "$ranges" 14
sed -n '/^\.Bd -literal/,/^\.Ed/{/^\./!p}' $page >"$work/netd.yaml"
"$netd" --config "$work/netd.yaml" --check-config >/dev/null || complain "the example in $page is not sound"

functions=$(grep -oE '\bnetd_[a-z0-9_]+\(' clientlib/include/netd/netd.h | tr -d '(' | sort -u)
enough "public functions" "$(echo "$functions" | wc -l)" 30
for f in $functions; do
	grep -qE "^\.Fn $f (\"|void$)" clientlib/libnetd.3 || complain "$f() is not in the synopsis of libnetd.3"
	sed '1,/^\.Sh DESCRIPTION/d' clientlib/libnetd.3 | grep -q "Fn $f\( \|$\)" ||
		case $f in # as the system's, nothing to add
		netd_bind | netd_listen | netd_accept | netd_shutdown | netd_[gs]etsockopt | netd_get*name) ;;
		*) complain "$f() is not described in libnetd.3" ;;
		esac
done

for v in $(git ls-files 'netd/*.c' 'drivers/*.c' 'clientlib/*.c' 'tools/netctl/*.c' | xargs grep -ohE 'getenv\("[A-Z_]+"' | grep -oE '[A-Z_]+' | sort -u); do
	[ "$v" = JOURNAL_STREAM ] || grep -qE "^\.It Ev .*\b$v\b" "${pages[@]}" || complain "\$$v is in no page"
done
exit $bad
