/* netctl ss: sockets, in the columns of the system's ss. */
#include "tools/netctl/netctl.h"
#include <inttypes.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <string.h>

static struct {
	bool tcp, udp, raw, packet, listening, all, processes, internals;
} opt;

static int options(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-') {
			fprintf(stderr, "netctl: ss: unknown word '%s'\n", argv[i]);
			return EXIT_WORDS;
		}
		for (const char *c = argv[i] + 1; *c; c++) {
			switch (*c) {
			case 't': opt.tcp = true; break;
			case 'u': opt.udp = true; break;
			case 'w': opt.raw = true; break;
			case '0': opt.packet = true; break;
			case 'l': opt.listening = true; break;
			case 'a': opt.all = true; break;
			case 'n': break; /* numbers are all there is */
			case 'p': opt.processes = true; break;
			case 'i': opt.internals = true; break;
			default:
				fprintf(stderr, "netctl: ss: unknown option in %s (known: -t -u -w -0 -l -a -n -p -i)\n", argv[i]);
				return EXIT_WORDS;
			}
		}
	}
	return EXIT_DONE;
}

/* Ping sockets are with the raw ones. */
static bool asked(const char *proto)
{
	return (opt.tcp && !strcmp(proto, "tcp")) || (opt.udp && !strcmp(proto, "udp")) ||
	       (opt.raw && (!strcmp(proto, "raw") || !strcmp(proto, "icmp"))) || (opt.packet && !strncmp(proto, "p_", 2));
}

/* As ss: without -a or -l only what has a peer; with -l only what waits for one. */
static bool wanted(const Netd__Control__Sock *s)
{
	bool waiting = !strcmp(s->state, "LISTEN") || !strcmp(s->state, "UNCONN");

	if ((opt.tcp || opt.udp || opt.raw || opt.packet) && !asked(s->proto))
		return false;
	return opt.all || waiting == opt.listening;
}

static const char *endpoint_text(char *buf, size_t size, const ProtobufCBinaryData *addr, uint32_t port)
{
	if (port)
		snprintf(buf, size, "%s:%u", address_text(addr, "0.0.0.0"), port);
	else
		snprintf(buf, size, "%s:*", address_text(addr, "0.0.0.0"));
	return buf;
}

/* "ethertype:device", * for all and any. */
static const char *link_text(char *buf, size_t size, const Netd__Control__Sock *s)
{
	const char *device = s->device && *s->device ? s->device : "*";

	if (s->ethertype == ETH_P_ALL)
		snprintf(buf, size, "*:%s", device);
	else
		snprintf(buf, size, "0x%04x:%s", s->ethertype, device);
	return buf;
}

static void internals(const Netd__Control__TcpInfo *i)
{
	printf("\t %s%s%s wscale:%u,%u rto:%.3f rtt:%.3f/%.3f mss:%u cwnd:%u ssthresh:%u bytes_acked:%" PRIu64
	       " bytes_received:%" PRIu64 " snd_wnd:%u rcv_wnd:%u unacked:%u retrans:%u ca:%s\n",
	    i->timestamps ? "ts " : "", i->sack ? "sack " : "", i->congestion, i->snd_wscale, i->rcv_wscale,
	    i->rto_us / 1e3, i->rtt_us / 1e3, i->rttvar_us / 1e3, i->mss, i->cwnd, i->ssthresh, i->bytes_acked,
	    i->bytes_received, i->snd_wnd, i->rcv_wnd, i->unacked, i->retransmits, i->ca_state);
}

static json_t *row_json(const Netd__Control__Sock *s)
{
	json_t *o = json_pack("{ss ss ss si ss si sI sI si ss si}", "proto", s->proto, "state", s->state, "local_address",
	    address_text(&s->local_addr, "0.0.0.0"), "local_port", (int)s->local_port, "remote_address",
	    address_text(&s->remote_addr, "0.0.0.0"), "remote_port", (int)s->remote_port, "recv_q", (json_int_t)s->recv_q,
	    "send_q", (json_int_t)s->send_q, "pid", s->pid, "program", s->program, "uid", (int)s->uid);
	const Netd__Control__TcpInfo *i = s->tcp;

	if (o && !strncmp(s->proto, "p_", 2)) {
		json_object_set_new(o, "device", json_string(s->device && *s->device ? s->device : "*"));
		json_object_set_new(o, "ethertype", json_integer(s->ethertype));
	}
	if (o && i)
		json_object_set_new(o, "tcp", json_pack("{si si si si si si si si sI sI si si sb sb ss ss}", "rtt_us", (int)i->rtt_us,
		    "rttvar_us", (int)i->rttvar_us, "rto_us", (int)i->rto_us, "mss", (int)i->mss, "cwnd", (int)i->cwnd, "ssthresh",
		    (int)i->ssthresh, "snd_wnd", (int)i->snd_wnd, "rcv_wnd", (int)i->rcv_wnd, "bytes_acked", (json_int_t)i->bytes_acked,
		    "bytes_received", (json_int_t)i->bytes_received, "retransmits", (int)i->retransmits, "unacked", (int)i->unacked,
		    "sack", (int)i->sack, "timestamps", (int)i->timestamps, "ca_state", i->ca_state, "congestion", i->congestion));
	return o;
}

static void row_text(const Netd__Control__Sock *s)
{
	bool link = !strncmp(s->proto, "p_", 2);
	char local[80], remote[80];

	printf("%-5s %-10s %-8" PRIu64 " %-8" PRIu64 " %-24s %-24s", s->proto, s->state, s->recv_q, s->send_q,
	    link ? link_text(local, sizeof(local), s) : endpoint_text(local, sizeof(local), &s->local_addr, s->local_port),
	    endpoint_text(remote, sizeof(remote), &s->remote_addr, s->remote_port));
	if (opt.processes && s->pid)
		printf(" users:((\"%s\",pid=%d))", s->program, s->pid);
	putchar('\n');
	if (opt.internals && s->tcp)
		internals(s->tcp);
}

int cmd_ss(int argc, char **argv)
{
	json_t *all = json_array();
	uint32_t cursor = 0;
	int ret = options(argc, argv);

	if (ret == EXIT_DONE && !want_json)
		printf("%-5s %-10s %-8s %-8s %-24s %-24s%s\n", "Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port",
		    "Peer Address:Port", opt.processes ? " Process" : "");
	do {
		Netd__Control__SockList list = NETD__CONTROL__SOCK_LIST__INIT;
		request r = NETD__CONTROL__REQUEST__INIT;
		response *a;

		if (ret != EXIT_DONE)
			break;
		list.cursor = cursor;
		r.body_case = NETD__CONTROL__REQUEST__BODY_SOCK_LIST;
		r.sock_list = &list;
		a = ask(&r);
		if (!a || a->body_case != NETD__CONTROL__RESPONSE__BODY_SOCKS) {
			ret = EXIT_REFUSED;
			response_free(a);
			break;
		}
		for (size_t i = 0; i < a->socks->n_sock; i++) {
			if (!wanted(a->socks->sock[i]))
				continue;
			if (want_json)
				json_array_append_new(all, row_json(a->socks->sock[i]));
			else
				row_text(a->socks->sock[i]);
		}
		cursor = a->socks->next;
		response_free(a);
	} while (cursor);
	if (ret == EXIT_DONE && want_json)
		json_dumpf(all, stdout, JSON_INDENT(2));
	json_decref(all);
	return ret;
}
