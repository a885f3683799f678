// A wire that costs next to nothing, so that what is measured is the path: frames of endless traffic arrive in a ring
// of buffers that stay in the nearer caches, as a NIC's do (DDIO), and what is sent is counted and forgotten.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/ports/port.h"
#include "src/shm/region.h"
#include "tests/bench/traffic.h"

namespace shunt::bench {

class BenchPort {
  public:
    explicit BenchPort(Traffic traffic)
        : traffic_(std::move(traffic)),
          stride_(stride_of(traffic_.longest())),
          buffers_(shm::Region::anonymous(buffer_count * stride_, shm::Region::Pages::huge)),
          order_(traffic_.first_flow, traffic_.flows) {
        for (const std::uint8_t number : traffic_.mix) mix_.push_back(&traffic_.templates[number]);
    }
    BenchPort(const BenchPort&) = delete;

    void receive(dataplane::Batch& batch) noexcept {
        std::array<std::uint32_t, dataplane::burst_size> flows;
        order_.next(flows);
        const std::uint64_t mixed = mix_.size();
        if (mixed == 1) {
            const Template only = *mix_.front();
            write(flows, batch, [&only](std::uint32_t) -> const Template& { return only; });
        } else {
            const Template* const* const mix = mix_.data();
            write(flows, batch,
                  [=](std::uint32_t flow) -> const Template& { return *mix[(flow * 0x9e3779b9U * mixed) >> 32]; });
        }
        next_buffer_ = (next_buffer_ + dataplane::burst_size) % buffer_count;
        received_ += dataplane::burst_size;
    }
    std::size_t transmit(std::span<dataplane::Lane* const> lanes) noexcept {
        sent_ += lanes.size();
        return lanes.size();
    }
    bool punt(dataplane::Lane&) noexcept { return false; }
    void drop(dataplane::Lane&) noexcept {}
    bool make(dataplane::Lane&, std::uint32_t) noexcept { return false; }
    MacAddress mac() const noexcept { return {{0x02, 0, 0, 0, 0, 0x02}}; }

    std::uint64_t received() const noexcept { return received_; }
    std::uint64_t sent() const noexcept { return sent_; }

  private:
    template <class TemplateOf>
    [[gnu::always_inline]] void write(std::span<const std::uint32_t> flows, dataplane::Batch& batch,
                                      TemplateOf&& template_of) noexcept {
        const std::uint64_t stride = stride_;  // a copy: bytes that are written could be any member
        std::byte* const bytes = buffers_.data() + dataplane::packet_headroom + next_buffer_ * stride;
        batch.add_all(flows.size(), [&](std::size_t i) -> dataplane::Arrival {
            std::byte* const frame = bytes + i * stride;
            const Template& from = template_of(flows[i]);
            write_head(from, flows[i], frame);
            return {.bytes = frame, .buffer = frame, .length = from.length};
        });
    }

    static constexpr std::size_t buffer_count = 512;
    static_assert(buffer_count % dataplane::burst_size == 0);
    // An odd number of cache lines, so that headers do not crowd in a few sets of a cache.
    static constexpr std::uint32_t stride_of(std::uint32_t frame) noexcept {
        return ((dataplane::packet_headroom + frame + 63) / 64 | 1) * 64;
    }

    Traffic traffic_;
    std::vector<const Template*> mix_{};
    std::uint32_t stride_;
    shm::Region buffers_;
    FlowOrder order_;
    std::size_t next_buffer_{};
    std::uint64_t received_{};
    std::uint64_t sent_{};
};
static_assert(dataplane::Port<BenchPort>);

}  // namespace shunt::bench
