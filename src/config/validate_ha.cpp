// Where this node answers about itself, and what it tells its peer.
#include <algorithm>

#include "src/config/finder.h"

namespace shunt::config {
namespace {

bool is_loopback(const IpAddress& address) {
    static const Prefix v4 = *Prefix::parse("127.0.0.0/8"), v6 = *Prefix::parse("::1/128");
    return v4.contains(address) || v6.contains(address);
}

void examine_http(Finder& finder) {
    const auto& listen = finder.state().http_listen;
    if (!listen) return;
    const Path path = Finder::top("http").child("listen");
    const std::string text = address_and_port(listen->address, listen->port);
    for (const Service& service : finder.state().services) {
        const auto takes_it = [&](const Vip& vip) {
            return vip.address == listen->address && vip.protocol == Protocol::tcp &&
                   vip.ports.contains(Be16(listen->port));
        };
        if (std::ranges::none_of(service.vips, takes_it)) continue;
        finder.refuse(path, "service " + quoted(service.name) + " takes every packet to " + text,
                      "listen on another address or port");
    }
    if (is_loopback(listen->address)) return;
    finder.warn(path, "whoever reaches " + text + " may read metrics and the state of this node",
                "listen on 127.0.0.1 or ::1 unless that is meant");
}

}  // namespace

void examine_ha(Finder& finder) {
    examine_http(finder);
    const auto& ha = finder.state().ha;
    if (!ha) return;
    const TrackFiles& files = ha->track_files;
    if (!files.dataplane.empty() && files.dataplane == files.controlplane) {
        finder.refuse(Finder::top("ha").child("track_files").child("controlplane"),
                      "both daemons would write " + files.dataplane, "give each a file of its own");
    }
    if (!finder.state().node.hash_seed_file.empty()) return;
    finder.warn(
        Finder::top("ha"),
        "without node.hash_seed_file this node chooses other backends than its peer, and a failover breaks connections",
        "give all nodes of the group the same seed file");
}

}  // namespace shunt::config
