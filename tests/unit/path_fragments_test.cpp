// Fragments through the whole path: whole datagrams reach one backend and the client, in any order, on any worker.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "src/base/random.h"
#include "tests/support/path_families.h"

namespace shunt::test {
namespace {

using shm::DropReason;

template <class F>
class FragmentsOf : public testing::Test {
  protected:
    static Bytes datagram(const std::string& from, const std::string& to, std::size_t size = 5000) {
        Packet p = packet(from, to, Protocol::udp);
        p.payload.assign(size, '\0');
        for (std::size_t i = 0; i < size; ++i) p.payload[i] = static_cast<char>('a' + i % 23);
        return p.build();
    }
    static std::vector<Bytes> pieces(std::uint32_t client, std::uint32_t id = 1) {
        return fragments_of(datagram(F::client(client), F::vip), 1400, id);
    }
    // Everything that leaves while workers are polled until nothing moves.
    static std::vector<Bytes> pump(Instance& where, std::size_t workers) {
        std::vector<Bytes> sent;
        for (int turn = 0; turn < 4; ++turn) {
            for (std::size_t w = 0; w < workers; ++w) {
                const auto output = where.burst({}, w);
                sent.insert(sent.end(), output.sent.begin(), output.sent.end());
            }
        }
        return sent;
    }
    std::vector<Bytes> send(Instance& where, const std::vector<Bytes>& packets, std::size_t workers = 1) {
        std::vector<Bytes> sent;
        for (std::size_t i = 0; i < packets.size(); ++i) {
            const auto output = where.burst({packets[i]}, i % workers);
            sent.insert(sent.end(), output.sent.begin(), output.sent.end());
        }
        const auto rest = pump(where, workers);
        sent.insert(sent.end(), rest.begin(), rest.end());
        return sent;
    }

    Instance instance{web(F::vip, F::backends())};
};
TYPED_TEST_SUITE(FragmentsOf, Families);

TYPED_TEST(FragmentsOf, AWholeDatagramReachesOneBackendInEveryOrderOfArrival) {
    auto order = this->pieces(1);
    ASSERT_EQ(order.size(), 4U);
    std::ranges::sort(order);
    std::uint32_t id = 100;
    do {
        auto packets = this->pieces(1, ++id);
        std::vector<Bytes> shuffled;
        for (const Bytes& piece : order) {
            // The same permutation of the pieces of this datagram.
            const auto all = this->pieces(1);
            shuffled.push_back(packets[static_cast<std::size_t>(std::ranges::find(all, piece) - all.begin())]);
        }
        const auto sent = this->send(this->instance, shuffled);
        ASSERT_EQ(sent.size(), 4U);
        const Seen there = read(reassembled(sent));
        EXPECT_TRUE(there.checksums_right);
        EXPECT_EQ(there.destination_port, 8080);
        EXPECT_EQ(there.payload.size(), 5000U);
    } while (std::ranges::next_permutation(order).found);
    this->instance.expect_conservation();
}

TYPED_TEST(FragmentsOf, InOneBurstTheyComeWithTheirFirst) {
    const auto output = this->instance.burst(this->pieces(1));
    const auto later = this->pump(this->instance, 1);
    std::vector<Bytes> sent = output.sent;
    sent.insert(sent.end(), later.begin(), later.end());
    EXPECT_TRUE(read(reassembled(sent)).checksums_right);
}

TYPED_TEST(FragmentsOf, RepliesAreTranslatedWhole) {
    const Seen there = read(reassembled(this->send(this->instance, this->pieces(1))));
    auto reply = fragments_of(this->datagram(there.to(), there.from()), 1400, 9);
    std::ranges::reverse(reply);
    const Seen back = read(reassembled(this->send(this->instance, reply)));
    EXPECT_EQ(back.from(), TypeParam::vip);
    EXPECT_EQ(back.to(), there.from());
    EXPECT_TRUE(back.checksums_right);
    this->instance.expect_conservation();
}

TYPED_TEST(FragmentsOf, TheyMeetOnOneWorkerWhereverTheyArrive) {
    for (const std::uint16_t workers : {std::uint16_t{2}, std::uint16_t{4}, std::uint16_t{8}}) {
        Instance many{web(TypeParam::vip, TypeParam::backends()), workers};
        for (std::uint32_t id = 1; id <= 50; ++id) {
            auto pieces = this->pieces(id, id);
            if (id % 2) std::ranges::reverse(pieces);
            const auto sent = this->send(many, pieces, workers);
            ASSERT_EQ(sent.size(), 4U) << workers << " workers, datagram " << id;
            EXPECT_TRUE(read(reassembled(sent)).checksums_right);
        }
        many.expect_conservation();
    }
}

TYPED_TEST(FragmentsOf, ADatagramGoesWhereItsFlowIs) {
    Instance many{web(TypeParam::vip, TypeParam::backends()), 4};
    for (std::uint32_t n = 0; n < 40; ++n) {
        const Seen known = many.forward(packet(TypeParam::client(n), TypeParam::vip, Protocol::udp), n % 4);
        many.services()[0].backends[0].weight = n % 2 ? 1 : 1000;  // the table changes, the flow stays
        many.publish();
        EXPECT_EQ(read(reassembled(this->send(many, this->pieces(n, n + 1), 4))).to(), known.to());
    }
}

TYPED_TEST(FragmentsOf, WithoutTheirFirstTheyAreDroppedAfterASecond) {
    auto pieces = this->pieces(1);
    pieces.erase(pieces.begin());
    EXPECT_TRUE(this->send(this->instance, pieces).empty());
    EXPECT_EQ(this->instance.drops(DropReason::fragment_waited), 0U);
    EXPECT_LT(this->instance.pool().available(), this->instance.pool().size());
    this->instance.clock.advance(Duration::milliseconds(1000));
    EXPECT_TRUE(this->pump(this->instance, 1).empty());
    EXPECT_EQ(this->instance.drops(DropReason::fragment_waited), 3U);
    this->instance.expect_conservation();
}

TYPED_TEST(FragmentsOf, WhatIsForAnotherPortOfTheVipIsTheKernelsWhole) {
    const std::string vip = TypeParam::vip;
    const std::string other_port = vip.substr(0, vip.size() - 3) + "444";
    auto pieces = fragments_of(this->datagram(TypeParam::client(1), other_port), 1400, 3);
    std::ranges::reverse(pieces);
    std::size_t punted = 0;
    for (const Bytes& piece : pieces) punted += this->instance.burst({piece}).punted.size();
    for (int i = 0; i < 3; ++i) punted += this->instance.burst({}).punted.size();
    EXPECT_EQ(punted, 4U);
    EXPECT_EQ(this->instance.fate(fragments_of(this->datagram(TypeParam::client(1), TypeParam::other_vip), 1400)[1]),
              "punted");
    this->instance.expect_conservation();
}

TYPED_TEST(FragmentsOf, TheRestSharesTheFateOfAFirstThatWasDropped) {
    for (auto& b : this->instance.services()[0].backends) b.weight = 0;
    this->instance.publish();
    for (const Bytes& piece : this->pieces(1)) EXPECT_EQ(this->instance.fate(piece), "no_backend");
    this->instance.expect_conservation();
}

TYPED_TEST(FragmentsOf, AFloodIsBoundedAndNamed) {
    for (std::uint32_t id = 1; this->instance.drops(DropReason::fragment_table_full) == 0; ++id) {
        ASSERT_LT(id, 1000U);
        const auto pieces = this->pieces(id, id);
        for (std::size_t i = 1; i < pieces.size(); ++i) this->instance.burst({pieces[i]});
    }
    EXPECT_GT(this->instance.pool().size() - this->instance.pool().available(), 500U) << "many have room";
    this->instance.expect_conservation();
}

TYPED_TEST(FragmentsOf, AWorkerThatDoesNotKeepUpIsNoReasonToWait) {
    Instance two{web(TypeParam::vip, TypeParam::backends()), 2, 4096};
    // Only worker 0 is polled: what belongs to worker 1 piles up in the ring.
    std::uint64_t sent = 0;
    for (std::uint32_t id = 1; two.drops(DropReason::fragment_hand_over) == 0; ++id) {
        ASSERT_LT(id, 3000U);
        sent += two.burst({this->pieces(id, id)[0]}, 0).sent.size();
    }
    EXPECT_GT(sent, 0U);
    two.expect_conservation();
}

}  // namespace
}  // namespace shunt::test
