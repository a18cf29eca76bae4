"""What traffic.py has for multicast.

  traffic.py group ADDR    joins a group on ADDR's device, hears its own numbered datagrams, leaves, again and again:
                           each is heard exactly once, none while nobody has joined; ends on SIGTERM
"""
import json
import socket
import struct

GROUP, PATIENCE = "239.7.7.7", 60


def group(address, stopping):
    wish = socket.inet_aton(GROUP) + socket.inet_aton(address)
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.bind(("", 0))
    ear.settimeout(PATIENCE)
    port = ear.getsockname()[1]
    mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    said, failure = 0, []
    try:
        while not stopping.is_set() and not failure:
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wish)
            mouth.sendto(struct.pack("!Q", said), (GROUP, port))
            heard = ear.recv(64)
            if heard != struct.pack("!Q", said):
                failure.append(f"heard {heard!r} instead of {said}")
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, wish)
            mouth.sendto(b"to nobody", (GROUP, port))
            said += 1
    except OSError as e:
        failure.append(f"datagram {said}: {e}")
    print(json.dumps({"end": "group", "right": not failure, "said": said, "failure": failure}), flush=True)
    return not failure
