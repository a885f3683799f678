// What memory alone costs: the two lines of as many flows as in the cases of the path, visited in the same order, in
// the same batches, with nothing to decide.
#include "dataplane/path/batch.h"
#include "src/base/prefetch.h"
#include "src/net/packet_hash.h"
#include "src/shm/region.h"
#include "src/shm/state.h"
#include "tests/bench/balancer.h"
#include "tests/bench/cases.h"
#include "tests/bench/flow_order.h"

namespace shunt::bench {
namespace {

class Chase : public Loop {
  public:
    explicit Chase(std::uint32_t flows) : order_(0, flows), buckets_(bucket_count(flows)) {
        need_memory(buckets_ * sizeof(shm::FlowBucket));
        memory_ = shm::Region::anonymous(buckets_ * sizeof(shm::FlowBucket), shm::Region::Pages::huge);
        for (std::uint64_t i = 0; i < buckets_; ++i) word(i) = 0;
    }
    std::uint64_t received() const noexcept override { return 0; }
    std::uint64_t sent() const noexcept override { return 0; }

  protected:
    struct Pair {
        std::uint64_t first, second;
    };
    // `known`: zero, but the processor cannot know that.
    Pair lines_of(std::uint32_t flow, std::uint64_t known) noexcept {
        const std::uint64_t hash = folded_multiply(flow ^ flow_seed.words[0] ^ known, flow_seed.words[1]);
        return {scale_hash(hash, buckets_), scale_hash(hash << 32 | hash >> 32, buckets_)};
    }
    std::array<std::uint32_t, dataplane::burst_size> next_flows() noexcept {
        std::array<std::uint32_t, dataplane::burst_size> flows;
        order_.next(flows);
        return flows;
    }
    std::uint64_t& word(std::uint64_t bucket) noexcept {
        return memory_.at<std::uint64_t>(bucket * sizeof(shm::FlowBucket));
    }

  private:
    static std::uint64_t bucket_count(std::uint64_t flows) {
        return shm::state_shape(1, std::max<std::uint64_t>(flows, 1'048'576)).buckets_per_worker;
    }
    FlowOrder order_;
    std::uint64_t buckets_;
    shm::Region memory_;
};

// Two lines for every packet, those of a burst asked for at once.
class Independent : public Chase {
  public:
    using Chase::Chase;
    void run(std::uint32_t bursts) noexcept override {
        for (std::uint32_t i = 0; i < bursts; ++i) {
            const auto flows = next_flows();
            std::array<Pair, dataplane::burst_size> pairs;
            for (std::size_t n = 0; n < pairs.size(); ++n) {
                pairs[n] = lines_of(flows[n], 0);
                prefetch(&word(pairs[n].first));
                prefetch(&word(pairs[n].second));
            }
            for (const Pair& pair : pairs) sum_ += word(pair.first) + word(pair.second);
            asm volatile("" ::"r"(sum_));
        }
    }

  private:
    std::uint64_t sum_{};
};

// One line for every packet, and only when it is there the next one is known.
class Dependent : public Chase {
  public:
    using Chase::Chase;
    void run(std::uint32_t bursts) noexcept override {
        for (std::uint32_t i = 0; i < bursts; ++i) {
            for (const std::uint32_t flow : next_flows()) known_ = word(lines_of(flow, known_).first);
        }
        asm volatile("" ::"r"(known_));
    }

  private:
    std::uint64_t known_{};
};

template <class Kind>
std::vector<Sample> chase(std::uint32_t flows, const Plan& plan) {
    Kind kind(flows);
    return in_turns(kind, plan);
}

}  // namespace

void add_chase_cases(std::vector<Case>& cases) {
    for (const auto& [text, flows] : {std::pair{"10k", 10'000U}, {"1M", 1'000'000U}, {"10M", 10'000'000U}}) {
        cases.push_back({std::string("chase/flows=") + text, Unit::cycles_per_packet,
                         [flows = flows](const Plan& plan) { return chase<Independent>(flows, plan); }});
        cases.push_back({std::string("chase_dependent/flows=") + text, Unit::cycles_per_packet,
                         [flows = flows](const Plan& plan) { return chase<Dependent>(flows, plan); }});
    }
}

}  // namespace shunt::bench
