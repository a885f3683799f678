// Flows that one worker is told to forget: how the main thread kills flows without writing into a worker's table, and
// without stopping it. The same list goes to every worker. While it is in force no worker copies one of its flows from
// another one; so once all have carried it out nobody has them, and nobody can get them back.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "src/shm/flow.h"

namespace shunt::dataplane {

class ForgetList {
  public:
    static constexpr std::size_t size = 64;  // flows at a time: what a burst may cost more, about 10 microseconds

    // The main thread. Gives the worker another list, in force from its next burst on; it must have carried out the one
    // before. An empty one just ends that.
    void give(std::span<const shm::FlowKey> flows) noexcept {
        List& list = lists_[(number_ + 1) % lists_.size()];
        list.count = std::min(flows.size(), size);
        std::copy_n(flows.begin(), list.count, list.flows.begin());
        given_.store(++number_, std::memory_order_release);
    }
    bool carried_out() const noexcept { return carried_out_.load(std::memory_order_acquire) == number_; }

    // The worker, at the start of a burst: calls forget(span of FlowKey) if there is another list.
    template <class Forget>
    void carry_out(Forget&& forget) noexcept {
        const std::uint64_t given = given_.load(std::memory_order_acquire);
        if (given == in_force_) [[likely]]
            return;
        in_force_ = given;
        forget(flows());
        carried_out_.store(given, std::memory_order_release);
    }
    // The worker: is this one of the flows that are being killed?
    bool contains(const IpAddress& peer, Be16 peer_port, ListenerIndex listener) const noexcept {
        const auto list = flows();
        return std::any_of(list.begin(), list.end(), [&](const shm::FlowKey& flow) {
            return flow.peer == peer && flow.peer_port == peer_port && flow.listener == listener;
        });
    }

  private:
    // Two of them: the worker still asks the old one while the main thread writes the next.
    struct List {
        std::array<shm::FlowKey, size> flows;
        std::size_t count{};
    };
    std::span<const shm::FlowKey> flows() const noexcept {
        const List& list = lists_[in_force_ % lists_.size()];
        return {list.flows.data(), list.count};
    }

    std::array<List, 2> lists_{};
    std::uint64_t number_{};  // the main thread's
    alignas(64) std::atomic<std::uint64_t> given_{};
    alignas(64) std::atomic<std::uint64_t> carried_out_{};
    std::uint64_t in_force_{};  // the worker's
};

}  // namespace shunt::dataplane
