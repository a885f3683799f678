// Passes through a worker's flow table, a few buckets per poll, and clears away what has expired: so that flows that
// ended in silence are no longer counted. The whole table is passed in bounded time, and no burst waits for it.
#pragma once

#include "dataplane/path/flow_policy.h"
#include "dataplane/tables/flow_table.h"

namespace shunt::dataplane {

class FlowSweep {
  public:
    static constexpr Duration pass = Duration::seconds(10);  // if the worker is not late
    static constexpr std::uint32_t buckets_per_step = 16;

    explicit FlowSweep(std::size_t buckets) noexcept
        : buckets_(static_cast<std::uint32_t>(buckets)),
          interval_{pass.nanoseconds * buckets_per_step / static_cast<std::int64_t>(buckets)} {}

    // Once per poll. Flows that a predecessor left are counted in a hurry.
    void step(Instant now, FlowTable& flows, const FlowPolicy& policy) noexcept {
        if (now < next_ && flows.all_counted()) return;
        if (!policy.tables.generation()) return;  // nobody can say yet what an entry means
        next_ = now + interval_;
        for (std::uint32_t i = 0; i < buckets_per_step; ++i) {
            flows.tidy(at_, policy);
            if (++at_ == buckets_) at_ = 0;
        }
        for (std::uint32_t i = 0; i < buckets_per_step && at_ + i < buckets_; ++i) flows.prefetch(at_ + i);
    }

  private:
    std::uint32_t buckets_;
    Duration interval_;
    std::uint32_t at_{};
    Instant next_{};
};

}  // namespace shunt::dataplane
