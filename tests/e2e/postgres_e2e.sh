#!/bin/bash
# PostgreSQL on netd: a process for each connection; pgbench from both sides, its sums checked at the end.
# timeout: 180
# storm: yes
. "$(dirname "$0")/apps.sh"
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)
need "$bin/postgres" pgbench psql setpriv
id postgres >/dev/null 2>&1 || { echo "skipped: no user postgres here"; exit 0; }
chmod 755 "$work"
mkdir "$work/db"
chown postgres "$work/db"
as="setpriv --reuid postgres --regid postgres --clear-groups env HOME=$work/db"
$as "$bin/initdb" -D "$work/db" -A trust -U postgres >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log"; fail "initdb"; }
echo "host all all 0.0.0.0/0 trust" >>"$work/db/pg_hba.conf"
start postgres netctl run -- $as "$bin/postgres" -D "$work/db" -h "$NETD" -p 5432 -k "" -c fsync=off
listening 5432
url="postgresql://postgres@$NETD/postgres?connect_timeout=30"
soon $PEER psql "$url" -c 'select 1' || fail "no answer"
$PEER pgbench -i -q -s 2 "$url" >"$work/init.log" 2>&1 || { cat "$work/init.log"; fail "pgbench -i"; }
run() {
	"$@" >"$work/bench.log" 2>&1 || { cat "$work/bench.log"; fail "pgbench"; }
	grep -E 'tps|failed' "$work/bench.log"
	grep -q 'number of failed transactions: 0' "$work/bench.log" || fail "failed transactions"
}
echo "pgbench, 8 connections"
through 5432 run $PEER pgbench -n -c 8 -j 2 -T 4 "$url"
run netctl run -- pgbench -n -c 4 -j 2 -T 3 "$url"
echo "a new connection for each transaction"
run $PEER pgbench -n -C -c 4 -j 2 -t 15 "$url"
sums=$($PEER psql -At "$url" -c "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)
	and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)")
[ "$sums" = t ] || fail "the sums do not agree: $sums"
