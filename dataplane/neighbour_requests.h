// Workers ask the main thread for the link address of a host on a connected subnet: a ring with one writer (the
// worker) and one reader (the main thread), in the memory of the process. A full ring loses the request; the next
// packet asks again.
#pragma once

#include <array>
#include <atomic>
#include <optional>

#include "src/base/index.h"
#include "src/net/address.h"

namespace shunt::dataplane {

struct NeighbourRequest {
    IpAddress address;
    PortIndex port;
};

class NeighbourRequests {
  public:
    void push(const NeighbourRequest& request) noexcept {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head - tail_.load(std::memory_order_acquire) == ring_.size()) return;
        ring_[head % ring_.size()] = request;
        head_.store(head + 1, std::memory_order_release);
    }
    std::optional<NeighbourRequest> pop() noexcept {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (tail == head_.load(std::memory_order_acquire)) return std::nullopt;
        const NeighbourRequest request = ring_[tail % ring_.size()];
        tail_.store(tail + 1, std::memory_order_release);
        return request;
    }

  private:
    std::array<NeighbourRequest, 256> ring_{};
    alignas(64) std::atomic<std::size_t> head_{};
    alignas(64) std::atomic<std::size_t> tail_{};
};

}  // namespace shunt::dataplane
