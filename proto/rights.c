/* What CM_RIGHT_* an option takes: the daemon asks for it by the user, the client by root's capabilities. */
#include "proto/client.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

uint32_t cm_option_rights(int level, int name, int value)
{
	const uint32_t admin = CM_RIGHT_ADMIN, either = CM_RIGHT_ADMIN | CM_RIGHT_RAW;

	if ((level == IPPROTO_IP && name == IP_TRANSPARENT) ||
	    (level == IPPROTO_IPV6 && name == IPV6_TRANSPARENT))
		return value ? either : 0;
	if (level != SOL_SOCKET)
		return 0;
	switch (name) {
	case SO_RCVBUFFORCE:
	case SO_SNDBUFFORCE:
		return admin;
	case SO_DEBUG:
	case SO_PREFER_BUSY_POLL:
		return value ? admin : 0;
	case SO_BUSY_POLL_BUDGET:
		return value > 0 && value <= UINT16_MAX ? admin : 0;
	case SO_MARK:
		return either;
	case SO_PRIORITY:
		return value < 0 || value > 6 ? either : 0;
	default:
		return 0;
	}
}

int cm_option_error(int level, int name)
{
	return level == SOL_SOCKET && name == SO_DEBUG ? -EACCES : -EPERM;
}
