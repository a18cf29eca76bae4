/*
 * netd-tap: frames between a device region and the kernel's TAP. Started by netd, never by hand.
 *
 * The TAP's descriptor goes into escrow as soon as it is open, so that the interface keeps its carrier
 * and the kernel its queue while a successor starts.
 */
#include "drivers/tap/tap.h"
#include "base/sandbox.h"

int main(void)
{
	static const struct driver_ops ops = {
	    .type = "tap",
	    .open = tap_open,
	    .close = tap_close,
	    .sandbox = sandbox_driver_tap,
	    .receive = tap_receive,
	    .transmit = tap_transmit,
	    .wants = tap_wants,
	};

	return driver_main(&ops);
}
