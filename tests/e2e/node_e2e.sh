#!/bin/bash
# node's http server and client: many connections on one loop, keep-alive, large bodies both ways.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
need node curl
cat >"$work/server.js" <<'JS'
const http = require('http'), crypto = require('crypto');
http.createServer((q, a) => {
	const h = crypto.createHash('sha256');
	let n = 0;
	q.on('data', d => { h.update(d); n += d.length; });
	q.on('end', () => a.end(JSON.stringify({ url: q.url, n, sha: h.digest('hex') })));
}).listen(7200, process.argv[2]);
JS
cat >"$work/client.js" <<'JS'
const http = require('http'), crypto = require('crypto');
const agent = new http.Agent({ keepAlive: true, maxSockets: 20 });
const body = crypto.randomBytes(400000), sha = crypto.createHash('sha256').update(body).digest('hex');
const posts = Number(process.argv[3]);
let left = posts;
for (let i = 0; i < posts; i++) {
	const q = http.request({ host: process.argv[2], port: 7200, path: '/' + i, method: 'POST', agent }, a => {
		let t = '';
		a.on('data', d => t += d);
		a.on('end', () => {
			const r = JSON.parse(t);
			if (r.url !== '/' + i || r.n !== body.length || r.sha !== sha) { console.error('wrong', t); process.exit(1); }
			if (--left === 0) { console.log(posts + ' posts of 400000 bytes'); process.exit(0); }
		});
	});
	q.on('error', e => { console.error(e); process.exit(1); });
	q.end(body);
}
JS
start server netctl run -- node "$work/server.js" "$NETD"
listening 7200
posts=${STORM:+1000}
through 7200 $PEER node "$work/client.js" "$NETD" "${posts:-200}" || fail "the kernel's client"
netctl run -- node "$work/client.js" "$NETD" "${posts:-200}" || fail "netd's client"
