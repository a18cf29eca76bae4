/* Addresses and prefixes as text: what is one, and above all what is not. */
#include "base/address.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(address, both_families)
{
	struct ipaddr a, v4 = ipaddr_v4(0x0a630002);

	cr_assert_eq(address_parse("10.99.0.2", &a), 0);
	cr_assert(ipaddr_eq(&a, &v4));
	cr_assert_eq(address_parse("::ffff:10.99.0.2", &a), 0);
	cr_assert(ipaddr_eq(&a, &v4), "mapped is the same");
	cr_assert_eq(address_parse("fd99::2", &a), 0);
	cr_assert(a.b[0] == 0xfd && a.b[1] == 0x99 && a.b[15] == 2 && !ipaddr_is_v4(&a));
	cr_assert_eq(address_parse("0.0.0.0", &a), 0);
	cr_assert(ipaddr_is_any(&a));
	cr_assert_eq(address_parse("::", &a), 0);
	cr_assert(ipaddr_is_any(&a));
}

Test(address, no_address)
{
	static const char *const bad[] = {"", " ", "10.0.0", "10.0.0.256", "10.0.0.1 ", " 10.0.0.1",
	    "10.0.0.1/8", "10.0.0.1.2", "010.0.0.1x", "host", ":", ":::", "fd99::2::1",
	    "fd99:12345::", "1:2:3:4:5:6:7:8:9", "fd99::2%eth0", "-1.0.0.0"};
	struct ipaddr a;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(address_parse(bad[i], &a), -EINVAL, "\"%s\"", bad[i]);
}

static const struct {
	const char *text;
	unsigned bits;
	int ret;
} prefixes[] = {
    {"10.0.0.0/8", 8, 0},
    {"10.0.0.0/0", 0, 0},
    {"10.0.0.1/32", 32, 0},
    {"10.0.0.1", 32, 0},
    {"fd00::/64", 64, 0},
    {"fd00::/128", 128, 0},
    {"fd00::1", 128, 0},
    {"::/0", 0, 0},
    {"10.0.0.0/33", 0, -EINVAL},
    {"fd00::/129", 0, -EINVAL},
    {"10.0.0.0/", 0, -EINVAL},
    {"/8", 0, -EINVAL},
    {"", 0, -EINVAL},
    {"10.0.0.0/ 8", 0, -EINVAL},
    {"10.0.0.0/+8", 0, -EINVAL},
    {"10.0.0.0/-1", 0, -EINVAL},
    {"10.0.0.0/8x", 0, -EINVAL},
    {"10.0.0.0/8/8", 0, -EINVAL},
    {"10.0.0.0/0008", 0, -EINVAL},
    {"10.0.0.0/4294967304", 0, -EINVAL},
    {"10.0.0/8", 0, -EINVAL},
    {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa/8", 0, -EINVAL},
};

Test(address, prefixes)
{
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		struct ipaddr a;
		unsigned bits = 999;

		cr_assert_eq(prefix_parse(prefixes[i].text, &a, &bits), prefixes[i].ret, "\"%s\"",
		    prefixes[i].text);
		if (!prefixes[i].ret)
			cr_assert_eq(bits, prefixes[i].bits, "\"%s\"", prefixes[i].text);
	}
}
