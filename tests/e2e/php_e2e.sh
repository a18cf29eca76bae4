#!/bin/bash
# PHP on netd: its web server with several workers, and a client of streams, of the extensions curl and sockets, which are
# loaded with RTLD_DEEPBIND.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
need php curl
php -m | grep -qx curl && php -m | grep -qx sockets || { echo "skipped: PHP has no curl or sockets here"; exit 0; }
head -c 3000000 /dev/urandom >"$work/big"
sum=$(md5sum <"$work/big" | cut -c1-32)
cat >"$work/sum.php" <<'PHP'
<?php echo md5(file_get_contents("php://input"));
PHP
cat >"$work/client.php" <<'PHP'
<?php
[, $host, $file] = $argv;
function must($ok, $what) { if (!$ok) { fwrite(STDERR, "$what\n"); exit(1); } }
$body = file_get_contents($file);
$sum = md5($body);
$url = "http://$host:8080";
must(file_get_contents("$url/big") === $body, "a stream's content");
$post = stream_context_create(["http" => ["method" => "POST", "header" => "Content-Type: x/y", "content" => $body]]);
must(file_get_contents("$url/sum.php", false, $post) === $sum, "what a stream sent");
$all = curl_multi_init();
for ($i = 0; $i < 8; $i++) {
	$c = curl_init($i % 2 ? "$url/big" : "$url/sum.php");
	curl_setopt_array($c, [CURLOPT_RETURNTRANSFER => true] + ($i % 2 ? [] : [CURLOPT_POSTFIELDS => $body, CURLOPT_HTTPHEADER => ["Expect:"]]));
	curl_multi_add_handle($all, $c);
	$handles[] = $c;
}
do {
	curl_multi_exec($all, $running);
	curl_multi_select($all, 1);
} while ($running);
foreach ($handles as $i => $c)
	must(curl_multi_getcontent($c) === ($i % 2 ? $body : $sum), "transfer $i of curl: " . curl_error($c));
$s = socket_create(AF_INET, SOCK_STREAM, SOL_TCP);
must(socket_connect($s, $host, 8080), "connect");
$request = "GET /big HTTP/1.0\r\n\r\n";
must(socket_write($s, $request) === strlen($request), "write");
for ($got = ""; ($piece = socket_read($s, 65536)) !== "" && $piece !== false; )
	$got .= $piece;
must(str_ends_with($got, $body), "what a socket read");
echo "well\n";
PHP
PHP_CLI_SERVER_WORKERS=4 start server netctl run -- php -S "$NETD:8080" -t "$work"
listening 8080
watch_port "$work/seen" 8080
rounds="1${STORM:+ 2 3}" # kills need time
for side in "$PEER" "netctl run --"; do
	for _ in $rounds; do
		[ "$($side php "$work/client.php" "$NETD" "$work/big")" = well ] || fail "the client by $side"
	done
	[ "$($side curl -sS -m 30 -H Expect: --data-binary "@$work/big" "http://$NETD:8080/sum.php")" = "$sum" ] || fail "curl by $side"
done
[ -e "$work/seen" ] || fail "no connection was seen in netctl ss"
