// How this node speaks with its peers of flows.
#include <algorithm>

#include "src/config/finder.h"

namespace shunt::config {
namespace {

bool is_multicast(const IpAddress& address) {
    static const Prefix v4 = *Prefix::parse("224.0.0.0/4"), v6 = *Prefix::parse("ff00::/8");
    return v4.contains(address) || v6.contains(address);
}

void examine_listen(Finder& finder, const Sync& sync) {
    const Path path = Finder::top("sync").child("listen");
    const std::string text = address_and_port(sync.listen.address, sync.listen.port);
    if (sync.listen.address.is_unspecified() || is_multicast(sync.listen.address)) {
        finder.refuse(path, text + " is no address of this node", "peers know it by one: name that");
    }
    for (const Service& service : finder.state().services) {
        const auto takes_it = [&](const Vip& vip) {
            return vip.address == sync.listen.address && vip.protocol == Protocol::udp &&
                   vip.ports.contains(Be16(sync.listen.port));
        };
        if (std::ranges::none_of(service.vips, takes_it)) continue;
        finder.refuse(path, "service " + quoted(service.name) + " takes every packet to " + text,
                      "listen on another address or port");
    }
}

void examine_peers(Finder& finder, const Sync& sync) {
    const Path path = Finder::top("sync").child("peers");
    if (sync.peers.empty()) finder.refuse(path, "there is nobody to tell", "name the peers, or remove [sync]");
    for (std::size_t i = 0; i < sync.peers.size(); ++i) {
        const AddressAndPort& peer = sync.peers[i];
        const std::string text = address_and_port(peer.address, peer.port);
        const auto refuse = [&](std::string message, std::string remedy) {
            finder.refuse(path.element(i), text + std::move(message), std::move(remedy));
        };
        const auto earlier = std::span(sync.peers).first(i);
        if (std::ranges::find(earlier, peer) != earlier.end()) refuse(" is named twice", "remove one");
        if (peer == sync.listen) refuse(" is this node itself", "name the others");
        if (peer.address.is_unspecified()) refuse(" is nobody's address", "name the one the peer listens on");
        if (peer.address.family() != sync.listen.address.family()) {
            refuse(" is of another family than " + sync.listen.address.text(), "use addresses of one family");
        }
        if (is_multicast(peer.address) && sync.peers.size() > 1) {
            refuse(" is a multicast group, and there are other peers", "name one group, or each peer");
        }
    }
    if (sync.peers.size() > most_sync_peers) {
        finder.refuse(path, number(sync.peers.size()) + " peers are more than " + number(most_sync_peers),
                      "form smaller groups");
    }
}

}  // namespace

void examine_sync(Finder& finder) {
    const auto& sync = finder.state().sync;
    if (!sync) return;
    examine_listen(finder, *sync);
    examine_peers(finder, *sync);
    if (!finder.state().node.hash_seed_file.empty()) return;
    finder.warn(Finder::top("sync"),
                "without node.hash_seed_file this node chooses other backends than its peers, and no record is used",
                "give all nodes of the group the same seed file");
}

}  // namespace shunt::config
