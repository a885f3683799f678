// The steering program: which packets of a kernel interface are ours.
//
// It runs in the driver, before the kernel sees a packet, and answers one of three things: pass (the kernel's),
// redirect (to the worker whose AF_XDP socket serves this queue), drop (ours, but nobody is there: the kernel, which
// owns the VIP, would answer with a reset). The rules are those of DESIGN section 7, tried in order, the first that
// speaks wins:
//
//   1. destination MAC not the port's or a virtual one of ours    pass
//   2. ARP, ND, link-local, multicast, other protocols            pass
//   3. ICMP: an error about a packet of ours, or about the outer
//      header of one of our tunnels                               worker;  everything else: pass
//   4. destination is a listener                                  worker
//   5. destination address has a listener, and the packet is a
//      fragment or carries extension headers                      worker
//   6. destination is an address of this host                     pass   (replies to health checks)
//   7. source is a backend endpoint of a NAT service, or a
//      fragment (or carries extension headers) from its address   worker
//   8. everything else                                            pass
//
// One or two VLAN tags before the IP header change none of this: what has them goes where it would go without.
//
// What it cannot match exactly it passes. All maps are filled by the loader (steering.h). The name of the function, of
// xsks_map and the metadata version are what libxdp looks for: programs that open sockets through it adopt this one.
#include <linux/bpf.h>
// after linux/bpf.h
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "dataplane/xdp/steer_maps.h"

char steer_license[] SEC("license") = "GPL";

// The version libxdp asks for (XSK_PROG_VERSION): it reads the type of this variable, which nothing else uses.
__uint(xsk_prog_version, 1) SEC("xdp_metadata");

// Which build this is; the name of its map (".rodata.shunt") tells the loader that the program is Shunt's.
const volatile __u64 shunt_build SEC(".rodata.shunt") = 0;

struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, steer_max_queues);
    __type(key, __u32);
    __type(value, __u32);
} xsks_map SEC(".maps");

// Sets: what matters is that the key is there. Filled on demand: a million backends need not be paid for by everybody.
#define STEER_SET(map_name, key_type, size)   \
    struct {                                  \
        __uint(type, BPF_MAP_TYPE_HASH);      \
        __uint(map_flags, BPF_F_NO_PREALLOC); \
        __uint(max_entries, size);            \
        __type(key, key_type);                \
        __type(value, __u8);                  \
    } map_name SEC(".maps")

STEER_SET(port_macs, struct steer_mac, steer_max_macs);
STEER_SET(listeners, struct steer_endpoint, steer_max_listeners);

// Listeners of several ports, as blocks of ports: the trie finds one that has the packet's port, if there is one.
struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, steer_max_port_blocks);
    __type(key, struct steer_port_block);
    __type(value, __u8);
} ranges SEC(".maps");

STEER_SET(listener_addrs, struct steer_address, steer_max_listeners);
STEER_SET(local_addrs, struct steer_address, steer_max_local_addresses);
STEER_SET(backends, struct steer_endpoint, steer_max_backends);
STEER_SET(backend_addrs, struct steer_address, steer_max_backends);
STEER_SET(tunnel_ends, struct steer_address, steer_max_backends);

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, steer_counters);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

// A packet as far as the rules ask about it.
struct packet {
    struct steer_endpoint source;
    struct steer_endpoint destination;
    __u32 transport;  // offset in the frame: just behind the IP header and its extensions
    __u8 protocol;
    __u8 by_address;      // a fragment or extension headers: all pieces must go one way, that of the addresses
    __u8 later_fragment;  // what is at `transport` is no transport header
    __u8 unknown;         // `protocol` is that of an extension header at which the view ends
};

struct vlan_tag {
    __be16 control;
    __be16 type;  // of what follows
};

enum { extension_headers_max = 8, vlan_tags_max = 2, frame_max = 0x3fff };

// The error types of RFC 792 and RFC 4443 (linux/icmp.h would drag libc's headers in).
enum { icmp_unreachable = 3, icmp_time_exceeded = 11, icmp_parameter_problem = 12, icmp_header_size = 8 };
enum { icmpv6_unreachable = 1, icmpv6_parameter_problem = 4 };

// What is at this offset, or null where the frame ends before.
static __always_inline const void* at(const struct xdp_md* context, __u32 offset, __u32 size) {
    const void* data = (const void*)(long)context->data;
    const void* end = (const void*)(long)context->data_end;
    if (offset > frame_max || data + offset + size > end) return 0;
    return data + offset;
}

static __always_inline int contains(void* set, const void* key) { return bpf_map_lookup_elem(set, key) != 0; }

static __always_inline int same_address(const struct steer_address* a, const struct steer_address* b) {
    return a->words[0] == b->words[0] && a->words[1] == b->words[1] && a->words[2] == b->words[2] &&
           a->words[3] == b->words[3];
}

static __always_inline int is_listener(const struct steer_endpoint* endpoint) {
    if (contains(&listeners, endpoint)) return 1;
    struct steer_port_block block = {.prefix_length = steer_port_block_bits,
                                     .address = endpoint->address,
                                     .protocol = endpoint->protocol,
                                     .zero = 0,
                                     .port = endpoint->port};
    return contains(&ranges, &block);
}

// Backends whose packets keep their ports stand there with port 0.
static __always_inline int is_backend(const struct steer_endpoint* endpoint) {
    if (contains(&backends, endpoint)) return 1;
    struct steer_endpoint any = *endpoint;
    any.port = 0;
    return contains(&backends, &any);
}

static __always_inline int is_kernel_ipv4(__u32 source, __u32 destination) {
    const __u32 link_local_mask = bpf_htonl(0xffff0000), link_local = bpf_htonl(0xa9fe0000);
    const __u32 multicast_mask = bpf_htonl(0xf0000000), multicast = bpf_htonl(0xe0000000);
    return (source & link_local_mask) == link_local || (destination & link_local_mask) == link_local ||
           (destination & multicast_mask) == multicast;
}

static __always_inline int is_kernel_ipv6(const struct steer_address* address) {
    const __u32 first = address->words[0];
    const int link_local = (first & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
    const int multicast = (first & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
    // An IPv4-mapped address never is on the wire; in our maps it stands for IPv4.
    const int mapped = first == 0 && address->words[1] == 0 && address->words[2] == bpf_htonl(0xffff);
    return link_local || multicast || mapped;
}

static __always_inline void map_ipv4(struct steer_address* out, __u32 address) {
    out->words[0] = 0;
    out->words[1] = 0;
    out->words[2] = bpf_htonl(0xffff);
    out->words[3] = address;
}

// The parsers return 0 for what is the kernel's by rule 2, malformed headers included.
static __always_inline int parse_ipv4(const struct xdp_md* context, __u32 offset, struct packet* packet) {
    const struct iphdr* header = at(context, offset, sizeof(*header));
    if (!header || header->version != 4 || header->ihl < 5) return 0;
    if (is_kernel_ipv4(header->saddr, header->daddr)) return 0;
    map_ipv4(&packet->source.address, header->saddr);
    map_ipv4(&packet->destination.address, header->daddr);
    packet->protocol = header->protocol;
    packet->by_address = (header->frag_off & bpf_htons(0x3fff)) != 0;  // more fragments, or an offset
    packet->later_fragment = (header->frag_off & bpf_htons(0x1fff)) != 0;
    packet->transport = offset + header->ihl * 4;
    return 1;
}

static __always_inline int is_extension(__u8 protocol) {
    return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS ||
           protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_AH;
}

static __always_inline __u32 extension_size(__u8 protocol, __u8 length) {
    if (protocol == IPPROTO_FRAGMENT) return 8;
    return protocol == IPPROTO_AH ? (length + 2) * 4 : (length + 1) * 8;
}

// Leaves the first protocol that is no extension header, or the extension header at which the view ends: inside a
// later fragment, or beyond as many headers as we follow.
static __always_inline int skip_extensions(const struct xdp_md* context, struct packet* packet) {
    for (int i = 0; i < extension_headers_max && is_extension(packet->protocol) && !packet->later_fragment; ++i) {
        const __u8* header = at(context, packet->transport, 8);
        if (!header) return 0;
        packet->by_address = 1;
        packet->later_fragment = packet->protocol == IPPROTO_FRAGMENT && (header[2] != 0 || (header[3] & 0xf8) != 0);
        packet->transport += extension_size(packet->protocol, header[1]);
        packet->protocol = header[0];
    }
    packet->unknown = is_extension(packet->protocol);
    return 1;
}

static __always_inline int parse_ipv6(const struct xdp_md* context, __u32 offset, struct packet* packet) {
    const struct ipv6hdr* header = at(context, offset, sizeof(*header));
    if (!header || header->version != 6) return 0;
    __builtin_memcpy(&packet->source.address, &header->saddr, sizeof(struct steer_address));
    __builtin_memcpy(&packet->destination.address, &header->daddr, sizeof(struct steer_address));
    if (is_kernel_ipv6(&packet->source.address) || is_kernel_ipv6(&packet->destination.address)) return 0;
    packet->protocol = header->nexthdr;
    packet->transport = offset + sizeof(*header);
    return skip_extensions(context, packet);
}

// `packet` is all zero. Global, so that the verifier judges it once and not for every way that leads to it.
__noinline int parse(struct xdp_md* context, __u32 family, __u32 offset, struct packet* packet) {
    if (!packet) return 0;
    if (family == bpf_htons(ETH_P_IP)) return parse_ipv4(context, offset, packet);
    if (family == bpf_htons(ETH_P_IPV6)) return parse_ipv6(context, offset, packet);
    return 0;
}

static __always_inline int read_ports(const struct xdp_md* context, struct packet* packet) {
    const __be16* ports = at(context, packet->transport, 2 * sizeof(*ports));
    if (!ports) return 0;
    packet->source.port = ports[0];
    packet->destination.port = ports[1];
    packet->source.protocol = packet->protocol;
    packet->destination.protocol = packet->protocol;
    return 1;
}

static __always_inline int has_ports(__u8 protocol) { return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP; }

static __always_inline int is_icmp(__be16 family, __u8 protocol) {
    return protocol == (family == bpf_htons(ETH_P_IP) ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static __always_inline int is_icmp_error(__be16 family, __u8 type) {
    if (family == bpf_htons(ETH_P_IPV6)) return type >= icmpv6_unreachable && type <= icmpv6_parameter_problem;
    return type == icmp_unreachable || type == icmp_time_exceeded || type == icmp_parameter_problem;
}

// What a tunnel's outer header says it carries.
static __always_inline int is_tunnel(__u8 protocol) {
    return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 || protocol == IPPROTO_GRE || protocol == IPPROTO_UDP;
}

static __always_inline int is_our_tunnel(const struct packet* packet) {
    return is_tunnel(packet->protocol) && contains(&tunnel_ends, &packet->destination.address) &&
           contains(&local_addrs, &packet->source.address);
}

// Rule 3. An error goes to the sender of the packet it quotes. Ours are those about what a listener sent (a reply,
// after translation), about what was sent to a backend on behalf of somebody else (not this host's own health checks),
// and about what a tunnel of this host carried.
static __always_inline enum steer_counter match_icmp(struct xdp_md* context, __be16 family,
                                                     const struct packet* outer) {
    const __u8* header = at(context, outer->transport, icmp_header_size);
    if (!header || outer->by_address || !is_icmp_error(family, header[0])) return steer_icmp;
    struct packet inner = {};
    if (!parse(context, family, outer->transport + icmp_header_size, &inner)) return steer_icmp;
    if (inner.later_fragment) return steer_icmp;
    if (!same_address(&inner.source.address, &outer->destination.address)) return steer_icmp;
    if (is_our_tunnel(&inner)) return steer_icmp_error;
    if (!has_ports(inner.protocol) || !read_ports(context, &inner)) return steer_icmp;
    if (is_listener(&inner.source)) return steer_icmp_error;
    if (contains(&local_addrs, &inner.source.address)) return steer_icmp;
    return is_backend(&inner.destination) ? steer_icmp_error : steer_icmp;
}

// Rules 5 to 8 for a packet whose ports are hidden.
static __always_inline enum steer_counter match_addresses(const struct packet* packet) {
    if (contains(&listener_addrs, &packet->destination.address)) return steer_listener_fragment;
    if (contains(&local_addrs, &packet->destination.address)) return steer_local;
    if (contains(&backend_addrs, &packet->source.address)) return steer_backend_fragment;
    return steer_unmatched;
}

// Rules 4 and 6 to 8.
static __always_inline enum steer_counter match_endpoints(const struct packet* packet) {
    if (is_listener(&packet->destination)) return steer_listener;
    if (contains(&local_addrs, &packet->destination.address)) return steer_local;
    if (is_backend(&packet->source)) return steer_backend;
    return steer_unmatched;
}

static __always_inline int is_for_port(const struct ethhdr* ethernet) {
    struct steer_mac mac = {};
    __builtin_memcpy(mac.bytes, ethernet->h_dest, sizeof(mac.bytes));
    return contains(&port_macs, &mac);
}

static __always_inline int is_tag(__be16 type) {
    return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

static __always_inline enum steer_counter match(struct xdp_md* context) {
    const struct ethhdr* ethernet = at(context, 0, sizeof(*ethernet));
    if (!ethernet || !is_for_port(ethernet)) return steer_other_mac;
    __be16 family = ethernet->h_proto;
    __u32 offset = sizeof(*ethernet);
    for (int i = 0; i < vlan_tags_max && is_tag(family); ++i) {
        const struct vlan_tag* tag = at(context, offset, sizeof(*tag));
        if (!tag) return steer_kernel_protocol;
        family = tag->type;
        offset += sizeof(*tag);
    }
    struct packet packet = {};
    if (!parse(context, family, offset, &packet)) return steer_kernel_protocol;
    if (is_icmp(family, packet.protocol)) return match_icmp(context, family, &packet);
    if (packet.by_address && (has_ports(packet.protocol) || packet.unknown)) return match_addresses(&packet);
    if (!has_ports(packet.protocol) || !read_ports(context, &packet)) return steer_kernel_protocol;
    return match_endpoints(&packet);
}

static __always_inline int is_for_worker(enum steer_counter outcome) {
    return outcome == steer_icmp_error || outcome == steer_listener || outcome == steer_listener_fragment ||
           outcome == steer_backend || outcome == steer_backend_fragment;
}

static __always_inline void count(__u32 outcome) {
    __u64* counter = bpf_map_lookup_elem(&counters, &outcome);
    if (counter) ++*counter;
}

SEC("xdp")
int xsk_def_prog(struct xdp_md* context) {
    const enum steer_counter outcome = match(context);
    count(outcome);
    if (!is_for_worker(outcome)) return XDP_PASS;
    // The answer says whether a socket is there: without one it is the fallback we hand in.
    const long action = bpf_redirect_map(&xsks_map, context->rx_queue_index, XDP_DROP);
    if (action != XDP_REDIRECT) count(steer_unattached);
    return (int)action;
}
