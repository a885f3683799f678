// The region of what other nodes say (layout.h): where its table lies, and whether a file is one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>

#include "src/base/result.h"
#include "src/shm/layout.h"
#include "src/shm/region.h"

namespace shunt::shm {

template <class Byte>
class BasicPeers {
    template <class T>
    using As = std::conditional_t<std::is_const_v<Byte>, const T, T>;

  public:
    // `region` is complete and as long as its header says: see check_peers.
    explicit BasicPeers(Byte* region) noexcept : region_(region) {}

    As<PeersHeader>& header() const noexcept { return *reinterpret_cast<As<PeersHeader>*>(region_); }
    std::span<As<FlowBucket>> flows() const noexcept {
        return {reinterpret_cast<As<FlowBucket>*>(region_ + first_peer_bucket), header().buckets};
    }

  private:
    Byte* region_;
};
using Peers = BasicPeers<std::byte>;
using PeersReader = BasicPeers<const std::byte>;

constexpr std::uint64_t peers_bytes(std::uint64_t buckets) noexcept {
    return first_peer_bucket + buckets * sizeof(FlowBucket);
}

// An error says why a mapped file cannot be used.
inline Status check_peers(const Region& region) {
    const auto refuse = [&](const char* why) { return Error{.message = why, .file = region.path()}; };
    if (region.reserved() < first_peer_bucket || region.file_bytes() < first_peer_bucket) {
        return refuse("the file is too short for a region of peers");
    }
    const auto& header = region.at<PeersHeader>(0);
    if (!reads_layout(header.version.load(std::memory_order_acquire))) {
        return refuse("the region of peers is not complete, or has another layout");
    }
    if (header.magic != peers_magic) return refuse("this is not a region of peers");
    const std::uint64_t room =
        (std::min(region.file_bytes(), region.reserved()) - first_peer_bucket) / sizeof(FlowBucket);
    if (header.buckets == 0 || header.buckets > room) return refuse("the file is shorter than its header says");
    return Done{};
}

// Makes an empty one in zeroed memory of peers_bytes(). The version is stored last.
inline void format_peers(std::byte* region, std::uint64_t buckets, const HashSeed& seed,
                         std::uint64_t tables_identity) noexcept {
    auto& header = *reinterpret_cast<PeersHeader*>(region);
    header.magic = peers_magic;
    header.buckets = buckets;
    header.flow_seed = seed;
    header.tables_identity = tables_identity;
    header.version.store(layout_version, std::memory_order_release);
}

}  // namespace shunt::shm
