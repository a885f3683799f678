/* What shunt-decap's program (C, in the kernel) and its loader (C++) share.
 *
 * An address is 16 bytes in network order, IPv4 as ::ffff:a.b.c.d, exactly as shunt::IpAddress holds it. */
#ifndef SHUNT_DATAPLANE_DECAP_DECAP_MAPS_H
#define SHUNT_DATAPLANE_DECAP_DECAP_MAPS_H

#include <linux/types.h>

struct decap_address {
    __u32 words[4];
};

/* Key of a longest-prefix match. The length is that of the 16 bytes: an IPv4 prefix is 96 longer. */
struct decap_prefix {
    __u32 length;
    struct decap_address address;
};

/* What the program undoes: the numbers are those of shunt::ForwardingMode. */
enum decap_mode { decap_l3dsr = 3, decap_ipip = 4, decap_gre = 5, decap_gue = 6 };

/* One count per outcome that is not "the kernel's, as it came". */
enum decap_counter {
    decap_undone,
    decap_congested, /* dropped: marked by a congested router, for a transport that cannot be told (RFC 6040) */
    decap_counters
};

/* The VIPs of l3dsr by DSCP: those of IPv4, then those of IPv6; zeros where there is none. */
enum { decap_dscps = 64, decap_vips = 2 * decap_dscps, decap_max_sources = 1024 };

#endif
