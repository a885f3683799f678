// Golden packets: tests/golden/*.txt say byte for byte what must come out. The expected bytes were computed by an
// independent implementation (tests/golden/oracle.py).
//
//     setup NAME          an instance of Shunt; its configuration follows, indented
//     case SETUP: NAME    what happens, in order, each followed by what comes of it:
//     in HEX              a packet arrives
//     wait MS             time passes
//     out HEX             sent
//     punt [HEX]          left to the kernel; without HEX as it arrived
//     drop REASON
//
// HEX may have spaces; (a5*1400) is a byte that repeats. Of what comes of one step the order does not count.
#include "tests/support/golden.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "src/base/random.h"

namespace shunt::test {
namespace {

// What comes of a step, in the words of the file.
std::vector<std::string> take(Instance& instance, const GoldenStep& step) {
    instance.clock.advance(step.wait);
    const Instance::Output output =
        instance.burst(step.packet.empty() ? std::vector<Bytes>{} : std::vector<Bytes>{step.packet});
    instance.hear_news();
    std::vector<std::string> lines;
    for (const Bytes& sent : output.sent) lines.push_back("out " + to_hex(sent));
    for (const Bytes& punted : output.punted) lines.push_back("punt " + to_hex(punted));
    for (const std::string& reason : output.dropped) lines.push_back("drop " + reason);
    std::ranges::sort(lines);
    return lines;
}

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, PacketsComeOutAsTheOracleSays) {
    const GoldenFile golden = read_golden(GetParam());
    ASSERT_GE(golden.cases.size(), 100U);
    std::map<std::string, std::unique_ptr<Instance>> instances;
    for (const GoldenCase& c : golden.cases) {
        auto& instance = instances[c.setup];
        if (!instance) instance = make_instance(golden.setups.at(c.setup));
        instance->clock.advance(Duration::seconds(10));  // nothing of the last case waits, and answers are due again
        for (const GoldenStep& step : c.steps) {
            EXPECT_EQ(take(*instance, step), step.expected) << c.name << "\nin " << to_hex(step.packet);
        }
    }
    for (auto& [name, instance] : instances) instance->expect_conservation();
}

INSTANTIATE_TEST_SUITE_P(Files, Golden, testing::ValuesIn(golden_files), [](const auto& file) { return file.param; });

// Exactly one of: sent, left to the kernel, dropped for a reason; or it waits, and is dropped later.
class Counting {
  public:
    explicit Counting(const std::string& toml) : instance_(make_instance(toml)) {}
    ~Counting() {
        instance_->settle();
        const shm::WorkerBlock& worker = instance_->state().workers()[0];
        EXPECT_EQ(worker.received.read(), taken_);
        EXPECT_EQ(worker.forwarded.read() + worker.punted.read() + worker.dropped.read(), taken_);
        instance_->expect_conservation();
    }
    void take(const Bytes& packet) {
        if (instance_->pool().available() < 64) instance_->settle();
        instance_->port().inject(packet);
        if (++taken_ % 16 == 0) flush();
    }
    void flush() {
        instance_->clock.advance(Duration::milliseconds(1));
        instance_->burst({});
    }

  private:
    std::unique_ptr<Instance> instance_;
    std::uint64_t taken_{};
};

TEST(EveryPacket, OfEveryTruncationOfTheGoldenOnesIsCountedOnce) {
    std::uint64_t truncations = 0;
    for (const char* file : golden_files) {
        const GoldenFile golden = read_golden(file);
        std::map<std::string, std::unique_ptr<Counting>> countings;
        for (const GoldenCase& c : golden.cases) {
            auto& counting = countings[c.setup];
            if (!counting) counting = std::make_unique<Counting>(golden.setups.at(c.setup));
            for (const GoldenStep& step : c.steps) {
                for (std::size_t length = 0; length < step.packet.size(); ++length, ++truncations) {
                    counting->take({step.packet.begin(), step.packet.begin() + static_cast<std::ptrdiff_t>(length)});
                }
            }
        }
        for (auto& [name, counting] : countings) counting->flush();
    }
    EXPECT_GT(truncations, 100'000U);
}

// Half of them noise, half of them golden packets in which some bytes are another's.
TEST(EveryPacket, OfAMillionRandomOnesIsCountedOnce) {
    Random random(20'261'121);
    std::vector<Bytes> golden;
    for (const char* file : golden_files) {
        for (const GoldenCase& c : read_golden(file).cases) golden.push_back(c.steps.front().packet);
    }
    Counting counting(read_golden("modes").setups.at("plain"));
    for (int n = 0; n < 1'000'000; ++n) {
        Bytes packet;
        if (n % 2 == 0) {
            packet.resize(random.below(100));
            for (std::byte& byte : packet) byte = static_cast<std::byte>(random());
        } else {
            packet = golden[random.below(golden.size())];
            for (auto changes = random.below(4); changes > 0; --changes) {
                packet[random.below(std::min<std::size_t>(packet.size(), 100))] = static_cast<std::byte>(random());
            }
        }
        counting.take(packet);
    }
    counting.flush();
}

}  // namespace
}  // namespace shunt::test
