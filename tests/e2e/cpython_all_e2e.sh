#!/bin/bash
# CPython's own socket tests have the same results on netd as on the kernel: all of them.
# timeout: 1800
# labels: long
. "$(dirname "$0")/apps.sh"
watch_port "$work/seen" "[0-9]*"
"$(dirname "$0")/../apps/cpython.py" || fail "see tests/apps/README.md"
[ -e "$work/seen" ] || fail "no connection was seen in netctl ss"
