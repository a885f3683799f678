// One publisher, one acceptor and several readers at once, for the thread sanitizer: nobody ever reads what is being
// written, and every reader sees whole generations.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/publisher.h"
#include "src/base/random.h"
#include "src/shm/generation.h"
#include "src/shm/state.h"

namespace shunt::controlplane {
namespace {

constexpr std::uint16_t readers = 3;
constexpr std::uint64_t generations = 400;
constexpr std::size_t services = 24;

class Publication : public ::testing::Test {
  protected:
    Publication() {
        const shm::StateShape shape{readers, 64, 64, 0, 16};
        state_ = shm::Region::anonymous(shm::StateLayout::of(shape).total);
        shm::format_state(state_.data(), shape, {});
        publisher_.follow(state_.data());
        for (std::size_t s = 0; s < services; ++s) {
            const auto byte = static_cast<std::uint8_t>(s + 1);
            config::Service service{.name = "s" + std::to_string(s), .table_size = 101};
            service.vips = {{IpAddress::v4(198, 18, 0, byte), Be16(80), Protocol::udp}};
            for (std::uint8_t b = 1; b <= 4; ++b) {
                service.backends.push_back({.address = IpAddress::v4(198, 18, byte, b), .port = 80});
            }
            desired_.services.push_back(service);
        }
    }

    // Every service carries a stamp that all its parts repeat; so does the seed, for the whole.
    void stamp(std::uint64_t generation, Random& random) {
        for (config::Service& service : desired_.services) {
            if (generation != 1 && random.below(6) != 0) continue;
            const auto stamp = static_cast<std::uint32_t>(1 + random.below(1000));
            service.timeouts.udp = Duration{stamp * Tick::nanoseconds};
            for (config::Backend& backend : service.backends) backend.weight = stamp;
            if (random.below(4) == 0) {
                service.backends.back().address = IpAddress::v4(198, 19, static_cast<std::uint8_t>(random.below(256)),
                                                                static_cast<std::uint8_t>(random.below(256)));
            }
        }
        seed_.words = {generation, ~generation, 0, 0};
    }
    void publish_all() {
        Random random(1);
        for (std::uint64_t g = 1; g <= generations; ++g) {
            stamp(g, random);
            const auto image = compiler_.compile({.state = desired_, .site_seed = seed_, .now = {1'000'000'000}});
            if (!image) ADD_FAILURE() << image.error().text();
            while (!publisher_.may_publish()) std::this_thread::yield();
            const auto published = publisher_.publish(**image);
            if (!published) ADD_FAILURE() << published.error().text();
        }
    }
    void accept_all() {
        shm::Acceptor acceptor(publisher_.region(), publisher_.readable_bytes(), state_.at<shm::StateHeader>(0));
        acceptor.announce();
        for (std::uint64_t last = 0; last < generations;) {
            if (const auto tables = acceptor.validate_newest()) {
                acceptor.accept(*tables);
                last = tables->generation().value;
            } else {
                std::this_thread::yield();
            }
        }
        EXPECT_EQ(state_.at<shm::StateHeader>(0).refused_generation.load(), 0U);
    }
    // Like a worker: bursts, and now and then a sleep.
    void read_all(std::uint16_t worker) {
        Random random(worker + 10U);
        shm::GenerationReader reader(publisher_.region(), state_.at<shm::StateHeader>(0),
                                     shm::State(state_.data()).workers()[worker]);
        reader.go_online();
        for (std::uint64_t last = 0; last < generations;) {
            const shm::Tables& tables = reader.acquire();
            const std::uint64_t generation = tables.generation().value;
            ASSERT_GE(generation, last);
            last = generation;
            if (generation != 0) check(tables);
            reader.quiesce();
            if (random.below(8) == 0) {
                reader.go_offline();
                std::this_thread::yield();
                reader.go_online();
            }
        }
        reader.go_offline();
    }
    static void check(const shm::Tables& tables) {
        ASSERT_EQ(tables.site_seed().words[0], ~tables.site_seed().words[1]);
        std::size_t seen = 0;
        for (std::uint32_t i = 1; i < tables.listeners.count(); ++i) {
            const shm::ListenerRecord& listener = tables.listeners[i];
            if (!listener.in_use) continue;
            ++seen;
            ASSERT_EQ(tables.listener_map.find(listener.address, listener.port, listener.protocol), i);
            const auto handles = tables.handles(listener);
            ASSERT_EQ(handles.size(), 4U);
            for (const std::uint16_t slot : tables.slots(listener)) ASSERT_LT(slot, handles.size());
            for (const shm::Handle handle : handles) {
                const shm::BackendRecord& backend = tables.backend(handle);
                ASSERT_EQ(backend.service, listener.service);
                ASSERT_EQ(backend.weight, listener.timeouts[shm::FlowState::datagram]);
                ASSERT_EQ(tables.source_map.find(backend.address, backend.port, backend.protocol),
                          backend.source.value);
            }
        }
        ASSERT_EQ(seen, services);
    }

    config::DesiredState desired_{};
    HashSeed seed_{};
    Compiler compiler_{};
    Publisher publisher_ = Publisher::in_memory(std::uint64_t{8} << 20);
    shm::Region state_{};
};

TEST_F(Publication, ReadersSeeWholeGenerationsOnly) {
    std::vector<std::thread> threads;
    threads.emplace_back([&] { accept_all(); });
    for (std::uint16_t w = 0; w < readers; ++w) threads.emplace_back([&, w] { read_all(w); });
    publish_all();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(publisher_.progress().accepted.value, generations);
    EXPECT_TRUE(publisher_.progress().passed_by_all(Generation(generations)));
}

}  // namespace
}  // namespace shunt::controlplane
