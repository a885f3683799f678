// Fuzzes the whole path: every mode, packets one after the other and in bursts on two workers, time, changes of the
// tables, ports that refuse. Every packet is counted once, no buffer is lost, and what leaves has headers that add up.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "dataplane/path/look_up_flow.h"
#include "dataplane/path/tags.h"
#include "src/net/checksum.h"
#include "tests/fuzz/script.h"
#include "tests/fuzz/setups.h"
#include "tests/support/golden.h"

namespace shunt::test {
namespace {

constexpr std::uint16_t workers = 2;
constexpr std::uint64_t buckets = 8;  // so few that entries give way to others
constexpr int most_changes = 4;       // of one script: each builds tables
constexpr int most_packets = 3000;
constexpr Duration until_all_is_forgotten = Duration::seconds(660);
constexpr Instant end_of_time{Duration::seconds(1'000'000'000).nanoseconds};

// An instance that is the same again after every script.
class Stage {
  public:
    explicit Stage(FuzzSetup setup) : setup_(std::move(setup)) {}

    void play(ScriptReader script) {
        if (!instance_ || instance_->clock.now() > end_of_time) set_up();
        for (packets_ = changes_ = 0; !script.done() && packets_ < most_packets;) step(script);
        flush(0);
        clean();
    }

    bool has_dropped(shm::DropReason reason) {
        return instance_ && (instance_->drops(reason, 0) != 0 || instance_->drops(reason, 1) != 0);
    }

  private:
    void set_up() {
        instance_ = make_instance(setup_.toml, workers, buckets);
        instance_->set_routes(setup_.routes);
        instance_->publish();
        services_ = instance_->services();
        arrived_ = 0;
    }

    void step(ScriptReader& script) {
        switch (static_cast<Op>(script.below(static_cast<std::size_t>(Op::count)))) {
            case Op::packet: {
                const std::uint8_t flags = script.byte();
                const std::size_t length = script.byte() | std::size_t{script.byte()} << 8;
                last_ = script.bytes(length);
                return arrive(flags);
            }
            case Op::again: {
                const std::uint8_t flags = script.byte();
                for (int n = script.byte(); n > 0; --n) arrive(n % 32 == 1 ? flags & ~in_one_burst : flags);
                return;
            }
            case Op::wait:
                instance_->clock.advance(Duration::milliseconds(std::int64_t{1} << script.below(wait_exponents)));
                for (std::size_t worker = 0; worker < workers; ++worker) flush(worker);
                return;
            case Op::change:
                return change(script);
            case Op::refuse:
                refused_ = script.byte();
                return;
            case Op::learn:
                return learn(script);
            case Op::count:
                return;
        }
    }

    void arrive(int flags) {
        const std::size_t worker = flags & on_second_worker;
        dataplane::MemoryBuffer* buffer = instance_->port(worker).inject(last_);
        if (buffer == nullptr) return;  // fragments hold all of them
        ++arrived_;
        ++packets_;
        buffer->segmented |= (flags & is_segmented) != 0;
        buffer->checksum_flagged = (flags & has_bad_checksum) != 0;
        if (!(flags & in_one_burst)) flush(worker);
    }

    void flush(std::size_t worker) {
        restrict(worker, refused_);
        for (const Bytes& frame : instance_->burst({}, worker).sent) judge(frame);
        restrict(worker, 0);
        refused_ = 0;
        instance_->hear_news();
    }
    void restrict(std::size_t worker, std::uint8_t refused) {
        instance_->allow_punt(!(refused & no_punt));
        instance_->port(worker).allow_punt(!(refused & no_punt));
        instance_->port(worker).limit_transmit(refused & no_transmit ? 0 : ~std::size_t{0});
        instance_->pool().withhold(refused & no_buffers ? instance_->pool().size() : 0);
    }

    // The main thread's turn: what the kernel's neighbours say.
    void learn(ScriptReader& script) {
        dataplane::LinkAddresses links(instance_->state().links(), instance_->state().neighbours());
        const std::uint8_t which = script.byte();
        const std::uint8_t last_byte = script.byte();
        const std::optional<MacAddress> mac =
            last_byte == 0 ? std::nullopt : std::optional(MacAddress{{2, 0, 0, 0, 0x0c, last_byte}});
        if (which % 2 == 0) {
            links.set_neighbour(IpAddress::v4(203, 0, 113, which), PortIndex(0), mac);
        } else {
            const auto hops = instance_->tables().next_hops();
            const std::size_t index = which % hops.size();
            links.set_next_hop(NextHopIndex(static_cast<std::uint16_t>(index)), hops[index].version, mac);
        }
        has_learnt_ = true;
    }
    void forget_links() {
        const auto links = instance_->state().links();
        const auto neighbours = instance_->state().neighbours();
        std::size_t used = 0;
        dataplane::LinkAddresses(links, neighbours)
            .for_each_used(0, neighbours.size(), [&used](const IpAddress&, PortIndex) { ++used; });
        EXPECT_LE(used, 128U);
        std::memset(static_cast<void*>(links.data()), 0, links.size_bytes());
        std::memset(static_cast<void*>(neighbours.data()), 0, neighbours.size_bytes());
        has_learnt_ = false;
    }

    // What leaves is a packet whose lengths and header checksum are right.
    static void judge(const Bytes& frame) {
        std::size_t at = 12;
        const auto type = [&] {
            return std::to_integer<unsigned>(frame[at]) << 8 | std::to_integer<unsigned>(frame[at + 1]);
        };
        while (type() == 0x8100 || type() == 0x88a8) at += 4;
        const bool v4 = type() == 0x0800;
        ASSERT_TRUE(v4 || type() == 0x86dd);
        at += 2;
        if (v4) {
            const auto& ip = *reinterpret_cast<const Ipv4Header*>(frame.data() + at);
            const std::size_t header = (ip.version_and_length & 0x0fU) * 4;
            ASSERT_GE(header, sizeof ip);
            ASSERT_LE(at + ip.total_length.host(), frame.size());
            ASSERT_EQ(internet_checksum(&ip, header), 0);
        } else {
            const auto& ip = *reinterpret_cast<const Ipv6Header*>(frame.data() + at);
            ASSERT_LE(at + sizeof ip + ip.payload_length.host(), frame.size());
        }
    }

    void change(ScriptReader& script) {
        auto& services = instance_->services();
        config::Service& service = services[script.below(services.size())];
        const std::uint8_t which = script.byte();
        const std::uint8_t what = script.below(8);
        if (service.backends.empty() || ++changes_ > most_changes) return;
        config::Backend& backend = service.backends[which % service.backends.size()];
        switch (what) {
            case 0:
            case 1:
            case 2:
                backend.state = static_cast<config::BackendState>(what);
                break;
            case 3:
            case 4:
                instance_->set_verdict(service.name, backend.key(), what == 3 ? shm::Verdict::down : shm::Verdict::up);
                break;
            case 5:
            case 6:
                backend.weight = what == 5 ? 0 : 100;
                break;
            default:
                service.backends.erase(service.backends.begin() + which % static_cast<int>(service.backends.size()));
        }
        instance_->publish();
    }

    void clean() {
        // Bursts that ask for nothing: what may look aside is saved up again.
        last_ = Bytes(60);
        constexpr auto bursts = dataplane::LookAsideBudget::most / dataplane::LookAsideBudget::per_burst;
        for (std::uint32_t n = 0; n < bursts; ++n) {
            for (const int worker : {0, int{on_second_worker}}) arrive(worker);
        }
        instance_->clock.advance(until_all_is_forgotten);
        instance_->settle();
        instance_->expect_conservation();
        std::uint64_t received = 0;
        for (const auto& worker : instance_->state().workers()) received += worker.received.read();
        EXPECT_EQ(received, arrived_);
        for (std::uint16_t i = 0; i < workers; ++i) {
            const auto flows = instance_->state().flows(WorkerIndex(i));
            std::memset(static_cast<void*>(flows.data()), 0, flows.size_bytes());
        }
        if (has_learnt_) forget_links();
        if (changes_ == 0) return;
        instance_->services() = services_;
        for (const config::Service& service : services_) {
            for (const auto& backend : service.backends) {
                instance_->set_verdict(service.name, backend.key(), shm::Verdict::up);
            }
        }
        instance_->publish();
    }

    FuzzSetup setup_;
    std::unique_ptr<Instance> instance_;
    std::vector<config::Service> services_;
    Bytes last_;
    std::uint64_t arrived_{};
    std::uint8_t refused_{};
    bool has_learnt_{};
    int packets_{};
    int changes_{};
};

std::vector<Stage>& stages() {
    static std::vector<Stage> all = [] {
        GTEST_FLAG_SET(break_on_failure, true);
        std::vector<Stage> made;
        for (FuzzSetup& setup : fuzz_setups()) made.emplace_back(std::move(setup));
        return made;
    }();
    return all;
}

// By other processes: the control of the steering program, and the successor of one that died.
constexpr std::array elsewhere{shm::DropReason::not_dropped, shm::DropReason::lost_in_restart,
                               shm::DropReason::steered_unattached};

}  // namespace
}  // namespace shunt::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace shunt::test;
    ScriptReader script({data, size});
    const std::size_t chosen = script.below(stages().size());
    stages()[chosen].play(script);
    return 0;
}

// The committed corpus reaches every reason for a drop.
extern "C" bool reaches_enough() {
    using namespace shunt::test;
    bool all = true;
    for (const auto& [reason, name, meaning] : shunt::shm::drop_reasons) {
        const auto drops = [wanted = reason](Stage& stage) { return stage.has_dropped(wanted); };
        if (std::ranges::find(elsewhere, reason) != elsewhere.end() || std::ranges::any_of(stages(), drops)) continue;
        std::cout << "no input reaches the drop reason " << name << "\n";
        all = false;
    }
    return all;
}
