// What a generation says, before it has a place in memory: publishing gives blocks their offsets and shares those that
// did not change.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "controlplane/compile/endpoint_table.h"
#include "src/net/packet_hash.h"
#include "src/shm/layout.h"

namespace shunt::controlplane {

template <class T>
using SharedVector = std::shared_ptr<const std::vector<T>>;  // null: none. The same pointer means the same content

struct ListenerImage {
    shm::ListenerRecord record{};  // `slots`, `handles` and `numbers` are 0 here
    SharedVector<std::uint16_t> slots{};
    SharedVector<shm::Handle> handles{};
    SharedVector<std::uint16_t> numbers{};
};

struct Image {
    HashSeed site_seed{};
    // By index; the first is unused. Retired indices keep their record.
    std::vector<shm::ServiceRecord> services{};
    std::vector<ListenerImage> listeners{};
    std::vector<shm::BackendRecord> backends{};
    std::vector<shm::SourceRecord> sources{};
    std::vector<shm::NextHopRecord> next_hops =
        std::vector<shm::NextHopRecord>(1);  // never empty: routes to nowhere name 0
    EndpointTable listener_map{};
    EndpointTable range_map{};
    EndpointTable source_map{};
    EndpointTable local_map{};
    EndpointTable tunnel_map{};
    std::array<IpAddress, 2> tunnel_source{};
    SharedVector<shm::TrieNode> routes_v4{};
    SharedVector<shm::TrieNode> routes_v6{};
};

}  // namespace shunt::controlplane
