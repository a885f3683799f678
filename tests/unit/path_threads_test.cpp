// What workers and the main thread share in the memory of the process, under the thread sanitizer.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "dataplane/forget_list.h"
#include "dataplane/hand_over.h"
#include "dataplane/news.h"
#include "dataplane/tables/flow_table.h"
#include "dataplane/tables/live_flows.h"
#include "dataplane/tables/path_mtus.h"

namespace shunt::dataplane {
namespace {

TEST(Threads, EveryParcelArrivesOnceAndInOrder) {
    constexpr std::uint32_t parcels = 20'000;
    constexpr std::uint16_t senders = 3;
    HandOver hand_over(senders + 1);
    std::vector<std::thread> threads;
    for (std::uint16_t from = 0; from < senders; ++from) {
        threads.emplace_back([&hand_over, from] {
            for (std::uint32_t i = 1; i <= parcels;) {
                const Parcel parcel{.length = i, .in_port = PortIndex(static_cast<std::uint8_t>(from))};
                if (hand_over.push(WorkerIndex(from), WorkerIndex(senders), parcel)) {
                    ++i;
                } else {
                    std::this_thread::yield();
                }
            }
        });
    }
    std::vector<std::uint32_t> last(senders);
    std::uint64_t turn = 0;
    for (std::uint32_t taken = 0; taken < senders * parcels;) {
        hand_over.take(WorkerIndex(senders), turn++, burst_size, [&](const Parcel& parcel) {
            ASSERT_EQ(parcel.length, ++last[parcel.in_port.value]);
            ++taken;
        });
    }
    for (auto& thread : threads) thread.join();
}

// The owner fills a table, so that flows move there and back, and empties it, again and again. Some are never erased:
// whoever looks for one of them finds it at any time.
TEST(Threads, AFlowThatMovesIsNeverMissed) {
    static constexpr HashSeed seed{
        {0x8f1d3b6c92a4e05bULL, 0x37c9e1520b8df6a4ULL, 0xd46a0c7f31e98b25ULL, 0x5b02f8e6a7391cd3ULL}};
    constexpr std::uint32_t staying = 12;
    constexpr std::uint32_t passing = 40;
    constexpr std::uint32_t rounds = 4'000;
    std::vector<shm::FlowBucket> memory(8);
    FlowTable owner(memory, seed);
    const auto key = [](std::uint32_t n) {
        return FlowKey{IpAddress::v4(Be32(0xcb007100U + n % 256)), Be16(static_cast<std::uint16_t>(1000 + n / 256)),
                       ListenerIndex(1), Be16{}};
    };
    const auto find = [](const FlowTable& table, const FlowKey& k) {
        return table.find(hash_peer(seed, k.peer, k.peer_port), k.peer, k.peer_port,
                          [&](const FlowEntry& e) { return e.listener == k.listener; });
    };
    const auto insert = [&](std::uint32_t n) {
        const FlowKey k = key(n);
        const FlowEntry entry{k.listener, Be16{}, shm::Handle{n}, FlowState::established, Tick{1}};
        owner.insert(hash_peer(seed, k.peer, k.peer_port), k, entry,
                     [](const FlowEntry&) { return FlowClass::active; });
    };
    for (std::uint32_t n = 0; n < staying; ++n) insert(n);
    std::atomic<bool> done{};
    std::uint64_t missed = 0;
    std::thread reader([&] {
        const FlowTable table(memory);
        for (std::uint32_t n = 0; !done.load(); n = (n + 1) % staying) {
            const auto found = find(table, key(n));
            missed += !found || found->entry.handle.value != n;
        }
    });
    std::uint32_t moved = 0;
    std::uint32_t next = staying;
    for (std::uint32_t round = 0; round < rounds; ++round) {
        const std::uint32_t first = next;
        std::vector<std::uint32_t> before;
        for (std::uint32_t n = 0; n < staying; ++n) before.push_back(find(owner, key(n))->position.bucket);
        for (std::uint32_t i = 0; i < passing; ++i) insert(next++);
        for (std::uint32_t n = 0; n < staying; ++n) moved += find(owner, key(n))->position.bucket != before[n];
        for (std::uint32_t n = first; n < next; ++n) {
            if (const auto found = find(owner, key(n))) owner.erase(found->position);
        }
    }
    done.store(true);
    reader.join();
    EXPECT_EQ(missed, 0U);
    EXPECT_GT(moved, rounds / 10);
}

// The worker asks the list in force at any time while the main thread writes the next one.
TEST(Threads, EveryForgetListIsCarriedOutOnceAndReadWhole) {
    constexpr std::uint32_t lists = 20'000;
    ForgetList list;
    const auto flow = [](std::uint32_t n) {
        return shm::FlowKey{IpAddress::v4(203, 0, 113, static_cast<std::uint8_t>(n)),
                            Be16(static_cast<std::uint16_t>(n)), ListenerIndex(1), Be16{}};
    };
    std::thread worker([&] {
        std::uint32_t carried_out = 0;
        while (carried_out < lists) {
            list.carry_out([&](std::span<const shm::FlowKey> flows) {
                ++carried_out;
                ASSERT_EQ(flows.size(), carried_out % ForgetList::size);
                for (const shm::FlowKey& one : flows) ASSERT_EQ(one.peer_port, flow(carried_out).peer_port);
            });
            const shm::FlowKey of_this = flow(carried_out);
            const bool expected = carried_out % ForgetList::size != 0;
            ASSERT_EQ(list.contains(of_this.peer, of_this.peer_port, of_this.listener), expected);
            std::this_thread::yield();  // where there are fewer cores than threads, each list would cost a time slice
        }
    });
    for (std::uint32_t n = 1; n <= lists; ++n) {
        const std::vector<shm::FlowKey> flows(n % ForgetList::size, flow(n));
        list.give(flows);
        while (!list.carried_out()) std::this_thread::yield();
    }
    worker.join();
}

TEST(Threads, APathMtuIsReadWholeWhileSlotsChangeHands) {
    std::vector<shm::PathMtuSlot> slots(8);  // so few that addresses push each other out
    shm::Counter known;
    PathMtus writer(slots, known);
    std::atomic<bool> done{false};
    const auto address = [](std::uint32_t n) { return IpAddress::v4(198, 18, 2, static_cast<std::uint8_t>(n)); };
    std::thread reader([&] {
        const PathMtus mtus(slots, known);
        std::uint32_t n = 0;
        while (!done.load()) {
            n = (n + 1) % 32;
            const auto mtu = mtus.find(address(n), Tick{0});
            if (mtu) {
                EXPECT_EQ(*mtu, 1000 + n);
            }
        }
    });
    constexpr std::uint32_t life = to_ticks(PathMtus::memory);
    for (std::uint32_t round = 0; round < 20'000; ++round) {
        const std::uint32_t n = round % 32;
        writer.lower(address(n), static_cast<std::uint16_t>(1000 + n), Tick{0});
        if (round % 8 == 7) writer.tidy(Tick{life});  // all are forgotten: their slots are free
    }
    done = true;
    reader.join();
}

TEST(Threads, WorkersCountWhileTheMainThreadSums) {
    constexpr std::uint16_t workers = 2;
    constexpr std::int32_t rounds = 50'000;
    const shm::StateShape shape{workers, 64, 1, 0, 1};
    std::vector<shm::FlowBucket> memory(shm::StateLayout::of(shape).total / sizeof(shm::FlowBucket));
    auto* region = reinterpret_cast<std::byte*>(memory.data());
    shm::format_state(region, shape, {});
    const shm::State state(region);
    const auto handle = shm::Handle::of(7, 3);
    const FlowSums sums({handle});
    std::atomic<int> running{workers};
    std::vector<std::thread> threads;
    for (std::uint16_t w = 0; w < workers; ++w) {
        threads.emplace_back([&, w] {
            LiveFlows live(state, WorkerIndex(w));
            for (std::int32_t n = 0; n < rounds; ++n) {
                live.add(handle);
                if (n % 2) live.remove(handle);
                // What is its own, it knows; of the other it heard no more than there ever was.
                EXPECT_LE(live.estimate(handle), 2 * workers * rounds);
            }
            --running;
        });
    }
    while (running > 0) sums.sum(state);
    for (auto& thread : threads) thread.join();
    sums.sum(state);
    for (std::uint16_t w = 0; w < workers; ++w) {
        EXPECT_EQ(LiveFlows(state, WorkerIndex(w)).estimate(handle), workers * rounds / 2);
    }
}

}  // namespace
}  // namespace shunt::dataplane
