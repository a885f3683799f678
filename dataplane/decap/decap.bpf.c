// What Shunt did to a packet, undone on the backend, before its kernel sees the packet: an outer header is taken off,
// or the VIP is put back in the place of the backend's address. So the backend needs the VIP on some interface, and
// neither a kernel module nor a tunnel device.
//
// Only what comes from a configured source, to this host, and is whole and well-formed as far as it has to be read;
// everything else passes as it came. Of the tunnels nothing but the outer header is believed: the inner packet is
// looked at by the kernel as any other, checksums included.
#include <linux/bpf.h>
// after linux/bpf.h
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "dataplane/decap/decap_maps.h"

char decap_license[] SEC("license") = "GPL";

// The name of this section's map tells the loader that the program is ours.
const volatile __u32 mode SEC(".rodata.decap") = decap_ipip;
const volatile __be16 gue_port SEC(".rodata.decap") = 0;

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, decap_max_sources);
    __type(key, struct decap_prefix);
    __type(value, __u8);
} sources SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, decap_vips);
    __type(key, __u32);
    __type(value, struct decap_address);
} vips SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, decap_counters);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

enum { family_ipv4 = 2, family_ipv6 = 10 };  // AF_INET, AF_INET6
enum { ipv4_later_fragment = 0x1fff, ipv4_any_fragment = 0x3fff };
enum { ecn_mask = 3, ecn_none = 0, ecn_ect1 = 1, ecn_ce = 3, dscp_mask = 0xfc };
enum { gre_header = 4, gre_key_header = 8, gue_header = 12, udp_header = 8, tcp_header = 20, icmp_header = 8 };
enum { extension_headers_max = 8 };

// The error types of RFC 792 and RFC 4443.
enum { icmp_unreachable = 3, icmp_time_exceeded = 11, icmp_parameter_problem = 12 };
enum { icmpv6_unreachable = 1, icmpv6_parameter_problem = 4 };

// The IP packet as it came. Offsets are from the start of the frame, lengths are what the header says.
struct packet {
    struct decap_address source;
    struct decap_address destination;
    __u32 header;     // offset of the IP header
    __u32 transport;  // offset of what follows it
    __u32 end;        // offset behind the packet: what follows is padding
    __u8 family;
    __u8 protocol;
    __u8 traffic_class;
    __u8 fragment;        // any part of a datagram that is not all of it
    __u8 later_fragment;  // not the first part: no transport header
};

static __always_inline void count(__u32 outcome) {
    __u64* counter = bpf_map_lookup_elem(&counters, &outcome);
    if (counter) ++*counter;
}

static __always_inline void map_ipv4(struct decap_address* out, __u32 address) {
    out->words[0] = 0;
    out->words[1] = 0;
    out->words[2] = bpf_htonl(0xffff);
    out->words[3] = address;
}

// `size` bytes of the frame at `offset`, or nothing where the frame (its first buffer) ends before.
static __always_inline void* bytes_at(const struct xdp_md* context, __u32 offset, __u32 size) {
    void* data = (void*)(long)context->data;
    const void* end = (const void*)(long)context->data_end;
    if (offset > 0x1000) return 0;
    void* at = data + offset;
    return at + size <= end ? at : 0;
}

static __always_inline int read_ipv4(const struct xdp_md* context, struct packet* packet) {
    const struct iphdr* ip = bytes_at(context, packet->header, sizeof(*ip));
    if (!ip || ip->version != 4 || ip->ihl < 5) return 0;
    map_ipv4(&packet->source, ip->saddr);
    map_ipv4(&packet->destination, ip->daddr);
    packet->family = family_ipv4;
    packet->protocol = ip->protocol;
    packet->traffic_class = ip->tos;
    packet->fragment = (ip->frag_off & bpf_htons(ipv4_any_fragment)) != 0;
    packet->later_fragment = (ip->frag_off & bpf_htons(ipv4_later_fragment)) != 0;
    packet->transport = packet->header + ip->ihl * 4;
    packet->end = packet->header + bpf_ntohs(ip->tot_len);
    return packet->transport <= packet->end;
}

static __always_inline int read_ipv6(const struct xdp_md* context, struct packet* packet) {
    const struct ipv6hdr* ip = bytes_at(context, packet->header, sizeof(*ip));
    if (!ip || ip->version != 6) return 0;
    __builtin_memcpy(&packet->source, &ip->saddr, sizeof(packet->source));
    __builtin_memcpy(&packet->destination, &ip->daddr, sizeof(packet->destination));
    packet->family = family_ipv6;
    packet->protocol = ip->nexthdr;
    packet->traffic_class = (__u8)(ip->priority << 4 | ip->flow_lbl[0] >> 4);
    packet->transport = packet->header + sizeof(*ip);
    packet->end = packet->transport + bpf_ntohs(ip->payload_len);
    return 1;
}

static __always_inline int is_from_source(const struct packet* packet) {
    const struct decap_prefix key = {.length = 128, .address = packet->source};
    return bpf_map_lookup_elem(&sources, &key) != 0;
}

// Addressed to this host, not through it. A host that forwards nothing on this interface gets nothing else.
static __always_inline int is_for_host(struct xdp_md* context, const struct packet* packet) {
    struct bpf_fib_lookup route = {.family = packet->family, .ifindex = context->ingress_ifindex};
    if (packet->family == family_ipv4) {
        route.ipv4_src = packet->source.words[3];
        route.ipv4_dst = packet->destination.words[3];
    } else {
        __builtin_memcpy(route.ipv6_src, &packet->source, sizeof(route.ipv6_src));
        __builtin_memcpy(route.ipv6_dst, &packet->destination, sizeof(route.ipv6_dst));
    }
    const long answer = bpf_fib_lookup(context, &route, sizeof(route), 0);
    return answer == BPF_FIB_LKUP_RET_NOT_FWDED || answer == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

// One's complement sums (RFC 1071); `words` of 16 bits in memory order.
static __always_inline __u32 fold(__u64 sum) {
    sum = (sum >> 32) + (sum & 0xffffffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return (__u32)sum;
}

// RFC 1624, equation 3.
static __always_inline __u16 updated(__u16 checksum, __u64 change) { return (__u16)~fold(change + (__u16)~checksum); }

static __always_inline __u64 change_of_word(__u16 before, __u16 after) { return (__u64)(__u16)~before + after; }

static __always_inline __u64 change_of_address(const struct decap_address* before, const struct decap_address* after) {
    __u64 change = 0;
    for (int i = 0; i < 4; ++i) change += (__u64)~before->words[i] + after->words[i];
    return change;
}

// Tunnels

// Of a tunnel's packet to us: where the inner packet begins. 0: it is none of ours.
static __always_inline __u32 inner_gre(const struct xdp_md* context, const struct packet* outer, __u8* protocol) {
    const __be16* gre = bytes_at(context, outer->transport, gre_header);  // flags and version, type
    if (outer->protocol != IPPROTO_GRE || !gre) return 0;
    if (gre[1] != bpf_htons(ETH_P_IP) && gre[1] != bpf_htons(ETH_P_IPV6)) return 0;
    *protocol = gre[1] == bpf_htons(ETH_P_IP) ? IPPROTO_IPIP : IPPROTO_IPV6;
    if (gre[0] == 0) return outer->transport + gre_header;
    return gre[0] == bpf_htons(0x2000) ? outer->transport + gre_key_header : 0;
}

static __always_inline __u32 inner_gue(const struct xdp_md* context, const struct packet* outer, __u8* protocol) {
    const __u8* bytes = bytes_at(context, outer->transport, gue_header);
    if (outer->protocol != IPPROTO_UDP || !bytes) return 0;
    const __be16* ports = (const __be16*)bytes;
    const __u8* gue = bytes + udp_header;  // version, control and length; protocol; flags
    if (ports[1] != gue_port || gue[0] != 0 || gue[2] != 0 || gue[3] != 0) return 0;
    *protocol = gue[1];
    return outer->transport + gue_header;
}

static __always_inline __u32 find_inner(const struct xdp_md* context, const struct packet* outer, __u8* protocol) {
    if (mode == decap_gre) return inner_gre(context, outer, protocol);
    if (mode == decap_gue) return inner_gue(context, outer, protocol);
    *protocol = outer->protocol;
    return outer->transport;
}

// RFC 6040 section 4.2: what the inner packet's ECN becomes; nothing else of the outer class is taken over.
static __always_inline __u8 merged_ecn(__u8 outer, __u8 inner) {
    outer &= ecn_mask;
    inner &= ecn_mask;
    const int stronger = outer == ecn_ce || (outer == ecn_ect1 && inner != ecn_ce);
    return inner != ecn_none && stronger ? outer : inner;
}

static __always_inline int is_congested(__u8 outer, __u8 inner) {
    return (outer & ecn_mask) == ecn_ce && (inner & ecn_mask) == ecn_none;
}

static __always_inline void set_class(struct xdp_md* context, const struct packet* packet, __u8 traffic_class) {
    if (packet->traffic_class == traffic_class) return;
    if (packet->family == family_ipv4) {
        struct iphdr* ip = bytes_at(context, packet->header, sizeof(*ip));
        if (!ip) return;
        __u16* word = (__u16*)ip;
        const __u16 before = *word;
        ip->tos = traffic_class;
        ip->check = updated(ip->check, change_of_word(before, *word));
    } else {
        struct ipv6hdr* ip = bytes_at(context, packet->header, sizeof(*ip));
        if (!ip) return;
        ip->priority = traffic_class >> 4;
        ip->flow_lbl[0] = (__u8)((traffic_class & 0xf) << 4) | (ip->flow_lbl[0] & 0xf);
    }
}

// Everything in front of the inner packet goes, but for the Ethernet header, which moves up to it.
static __always_inline int take_off(struct xdp_md* context, const struct packet* inner) {
    const __u32 removed = inner->header - sizeof(struct ethhdr);
    const struct ethhdr* before = bytes_at(context, 0, sizeof(*before));
    struct ethhdr* after = bytes_at(context, removed, sizeof(*after));
    if (!before || !after) return XDP_PASS;
    struct ethhdr ethernet = *before;
    ethernet.h_proto = inner->family == family_ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
    *after = ethernet;
    if (bpf_xdp_adjust_head(context, (int)removed)) return XDP_ABORTED;
    count(decap_undone);
    return XDP_PASS;
}

static __always_inline int undo_tunnel(struct xdp_md* context, const struct packet* outer) {
    __u8 protocol = 0;
    struct packet inner = {.header = find_inner(context, outer, &protocol)};
    if (inner.header == 0 || outer->fragment) return XDP_PASS;
    const int whole = protocol == IPPROTO_IPIP   ? read_ipv4(context, &inner)
                      : protocol == IPPROTO_IPV6 ? read_ipv6(context, &inner)
                                                 : 0;
    if (!whole || inner.end > outer->end) return XDP_PASS;
    if (!is_from_source(outer) || !is_for_host(context, outer)) return XDP_PASS;
    if (is_congested(outer->traffic_class, inner.traffic_class)) {
        count(decap_congested);
        return XDP_DROP;
    }
    const __u8 ecn = merged_ecn(outer->traffic_class, inner.traffic_class);
    set_class(context, &inner, (inner.traffic_class & dscp_mask) | ecn);
    return take_off(context, &inner);
}

// l3dsr

static __always_inline int is_extension(__u8 protocol) {
    return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_DSTOPTS ||
           protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_AH;
}

// To the transport header, or to where a later fragment begins.
static __always_inline int skip_extensions(const struct xdp_md* context, struct packet* packet) {
    for (int i = 0; i < extension_headers_max && is_extension(packet->protocol); ++i) {
        const __u8* header = bytes_at(context, packet->transport, 8);
        if (!header) return 0;
        __u32 length = (header[1] + 1) * 8;
        if (packet->protocol == IPPROTO_FRAGMENT) {
            packet->later_fragment = header[2] != 0 || (header[3] & 0xf8) != 0;
            length = 8;
        } else if (packet->protocol == IPPROTO_AH) {
            length = (header[1] + 2) * 4;
        }
        packet->protocol = header[0];
        packet->transport += length;
        if (packet->later_fragment) return 1;
    }
    return !is_extension(packet->protocol);
}

static __always_inline int is_error(const struct packet* packet, __u8 type) {
    if (packet->protocol == IPPROTO_ICMPV6) return type >= icmpv6_unreachable && type <= icmpv6_parameter_problem;
    return type == icmp_unreachable || type == icmp_time_exceeded || type == icmp_parameter_problem;
}

// Puts the change of the destination address into the transport's checksum. 0: the packet is none of ours, untouched.
static __always_inline int follow_checksum(const struct xdp_md* context, const struct packet* packet, __u64 change) {
    const __u8 protocol = packet->protocol;
    const __u32 size = protocol == IPPROTO_TCP ? tcp_header : udp_header;  // ICMP's has 8 bytes, too
    if (packet->transport + size > packet->end) return 0;
    __u8* header = bytes_at(context, packet->transport, udp_header);
    if (!header) return 0;
    if (protocol == IPPROTO_TCP) {
        __u16* tcp = bytes_at(context, packet->transport, tcp_header);
        if (!tcp) return 0;
        tcp[8] = updated(tcp[8], change);
    } else if (protocol == IPPROTO_UDP) {
        __u16* checksum = (__u16*)(header + 6);
        if (*checksum != 0) *checksum = updated(*checksum, change) ?: 0xffff;
    } else if (protocol == IPPROTO_ICMPV6 && packet->family == family_ipv6 && is_error(packet, header[0])) {
        __u16* checksum = (__u16*)(header + 2);
        *checksum = updated(*checksum, change);
    } else {
        return protocol == IPPROTO_ICMP && packet->family == family_ipv4 && is_error(packet, header[0]);
    }
    return 1;
}

static __always_inline void set_destination(struct xdp_md* context, const struct packet* packet,
                                            const struct decap_address* vip, __u64 change) {
    if (packet->family == family_ipv4) {
        struct iphdr* ip = bytes_at(context, packet->header, sizeof(*ip));
        if (!ip) return;
        ip->daddr = vip->words[3];
        ip->check = updated(ip->check, change);
    } else {
        struct ipv6hdr* ip = bytes_at(context, packet->header, sizeof(*ip));
        if (ip) __builtin_memcpy(&ip->daddr, vip, sizeof(*vip));
    }
}

static __always_inline int undo_l3dsr(struct xdp_md* context, struct packet* packet) {
    const __u32 dscp = packet->traffic_class >> 2;
    const __u32 index = packet->family == family_ipv4 ? dscp : decap_dscps + dscp;
    const struct decap_address* vip = bpf_map_lookup_elem(&vips, &index);
    if (!vip || (vip->words[0] | vip->words[3]) == 0) return XDP_PASS;
    if (!is_from_source(packet) || !is_for_host(context, packet)) return XDP_PASS;
    if (packet->family == family_ipv6 && !skip_extensions(context, packet)) return XDP_PASS;
    const __u64 change = change_of_address(&packet->destination, vip);
    const int has_ports = packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP;
    if (packet->later_fragment ? !has_ports : !follow_checksum(context, packet, change)) return XDP_PASS;
    set_destination(context, packet, vip, change);
    set_class(context, packet, packet->traffic_class & ecn_mask);
    count(decap_undone);
    return XDP_PASS;
}

SEC("xdp.frags")
int shunt_decap(struct xdp_md* context) {
    const struct ethhdr* ethernet = bytes_at(context, 0, sizeof(*ethernet));
    struct packet packet = {.header = sizeof(*ethernet)};
    if (!ethernet) return XDP_PASS;
    if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
        if (!read_ipv4(context, &packet)) return XDP_PASS;
    } else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
        if (!read_ipv6(context, &packet)) return XDP_PASS;
    } else {
        return XDP_PASS;
    }
    return mode == decap_l3dsr ? undo_l3dsr(context, &packet) : undo_tunnel(context, &packet);
}
