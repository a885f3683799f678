/* What the steering program (C, in the kernel) and its loader (C++) share: map keys and counters.
 *
 * Keys are compared byte by byte by the kernel's hash maps: every byte is meant, padding is named and zero.
 * An address is 16 bytes in network order, IPv4 as ::ffff:a.b.c.d, exactly as shunt::IpAddress holds it. */
#ifndef SHUNT_DATAPLANE_XDP_STEER_MAPS_H
#define SHUNT_DATAPLANE_XDP_STEER_MAPS_H

#include <linux/types.h>

struct steer_address {
    __u32 words[4]; /* network order; words, so that 16 bytes compare as four loads */
};

struct steer_endpoint {
    struct steer_address address;
    __be16 port;
    __u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
    __u8 zero;
};

/* Ports of a listener: a key of a trie, of which the first `prefix_length` bits behind it must be those of the packet.
 * An aligned block of 2^n ports leaves n bits open, all ports of an address 16. */
struct steer_port_block {
    __u32 prefix_length;
    struct steer_address address;
    __u8 protocol;
    __u8 zero;
    __be16 port;
};

struct steer_mac {
    __u8 bytes[6];
    __u8 zero[2];
};

/* One count per outcome. Every packet adds to exactly one of those before steer_unattached, named by the rule of
 * DESIGN section 7 that decided; a packet for a worker adds to steer_unattached as well when it had to be dropped
 * because no socket was attached to its queue. So redirected = worker outcomes - unattached, exactly. */
enum steer_counter {
    steer_other_mac,         /* rule 1: passed */
    steer_kernel_protocol,   /* rule 2: passed */
    steer_icmp,              /* rule 3: passed */
    steer_icmp_error,        /* rule 3: worker */
    steer_listener,          /* rule 4: worker */
    steer_listener_fragment, /* rule 5: worker */
    steer_local,             /* rule 6: passed */
    steer_backend,           /* rule 7: worker */
    steer_backend_fragment,  /* rule 7: worker */
    steer_unmatched,         /* rule 8: passed */
    steer_unattached,
    steer_counters
};

enum {
    steer_max_queues = 1024,
    steer_max_macs = 1024,
    steer_max_listeners = 65536,
    steer_max_port_blocks = 1048576, /* a range is 30 blocks at most */
    steer_port_block_bits = 160,
    steer_all_ports = 65536,
    steer_max_backends = 1048576,
    steer_max_local_addresses = 65536
};

#endif
