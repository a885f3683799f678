#include "dataplane/main/link_book.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace shunt::dataplane {
namespace {

constexpr int lan = 7, wan = 9, other = 11;  // the kernel's names; ports 0 and 2 stand on the first two

class LinkBookTest : public testing::Test {
  protected:
    std::optional<MacAddress> resolve(std::size_t index, const IpAddress& destination = {}) const {
        return resolve(NextHopIndex(static_cast<std::uint16_t>(index)), hops_[index], destination);
    }
    std::optional<MacAddress> resolve_client(const IpAddress& address, std::uint8_t port) const {
        const shm::NextHopRecord on_link = hop({}, port, 1, shm::NextHopRecord::on_link);
        return resolve(NextHopIndex(1), on_link, address);
    }
    std::optional<MacAddress> resolve(NextHopIndex index, const shm::NextHopRecord& record,
                                      const IpAddress& destination) const {
        const MacAddress mac = MacAddress::of_word(links_.resolve(index, record, destination));
        return mac != MacAddress{} ? std::optional(mac) : std::nullopt;
    }
    static shm::NextHopRecord hop(const IpAddress& address, std::uint8_t port, std::uint16_t version,
                                  std::uint8_t flags = 0) {
        shm::NextHopRecord record{};
        record.address = address;
        record.port = PortIndex(port);
        record.version = version;
        record.flags = flags;
        return record;
    }
    bool prepare(std::vector<shm::NextHopRecord> hops) {
        hops.insert(hops.begin(), shm::NextHopRecord{});
        hops_ = hops;
        return book_.prepare(hops_, [this](const Neighbour& n) {
            const auto found = kernel_.find(n);
            return found == kernel_.end() ? std::nullopt : std::optional(found->second);
        });
    }

    std::vector<shm::LinkWord> words_{std::vector<shm::LinkWord>(shm::max_next_hops)};
    std::vector<shm::NeighbourSlot> slots_{std::vector<shm::NeighbourSlot>(shm::neighbour_slots)};
    LinkAddresses links_{words_, slots_};
    LinkBook book_{links_, {lan, 0, wan}};
    std::map<Neighbour, MacAddress> kernel_;
    std::vector<shm::NextHopRecord> hops_;
    const IpAddress gateway_ = IpAddress::v4(198, 18, 1, 1), backend_ = *IpAddress::parse("2001:db8::11");
    const MacAddress mac_{{2, 0, 0, 0, 0, 1}}, other_mac_{{2, 0, 0, 0, 0, 2}};
};

TEST_F(LinkBookTest, WritesWhatTheKernelKnowsBeforeTheGenerationIsInUse) {
    kernel_[{gateway_, lan}] = mac_;
    EXPECT_TRUE(prepare({hop(gateway_, 0, 1), hop(backend_, 2, 1)}));
    EXPECT_EQ(resolve(1), mac_);
    EXPECT_EQ(resolve(2), std::nullopt);
    EXPECT_EQ(book_.watched(), (std::vector<Neighbour>{{gateway_, lan}, {backend_, wan}}));
}

TEST_F(LinkBookTest, FollowsTheKernel) {
    prepare({hop(gateway_, 0, 1), hop(backend_, 2, 1)});
    book_.hear({backend_, wan}, mac_);
    EXPECT_EQ(resolve(2), mac_);
    book_.hear({backend_, wan}, other_mac_);
    EXPECT_EQ(resolve(2), other_mac_);
    book_.hear({backend_, lan}, mac_);
    EXPECT_EQ(resolve(2), other_mac_) << "the same address on another link";
    book_.hear({backend_, wan}, std::nullopt);
    EXPECT_EQ(resolve(2), std::nullopt);
}

TEST_F(LinkBookTest, AnIndexThatGoesToAnotherAddressNeverLeadsToTheOldOne) {
    kernel_[{gateway_, lan}] = mac_;
    prepare({hop(gateway_, 0, 1)});
    prepare({hop(backend_, 0, 2)});
    EXPECT_EQ(resolve(1), std::nullopt);
    book_.hear({gateway_, lan}, mac_);
    EXPECT_EQ(resolve(1), std::nullopt);
    book_.hear({backend_, lan}, other_mac_);
    EXPECT_EQ(resolve(1), other_mac_);
}

TEST_F(LinkBookTest, OnlyWhatTheKernelMustResolveIsWatched) {
    auto retired = hop(gateway_, 0, 1);
    retired.retired_at = 1;
    prepare({hop({}, 0, 1, shm::NextHopRecord::on_link), hop(gateway_, 0, 1, shm::NextHopRecord::has_static),
             hop(gateway_, 0, 1, shm::NextHopRecord::local), retired, hop(gateway_, 1, 1), hop(gateway_, 9, 1)});
    EXPECT_TRUE(book_.watched().empty());
}

TEST_F(LinkBookTest, TheSameNextHopsAreNoWork) {
    EXPECT_TRUE(prepare({hop(gateway_, 0, 1)}));
    EXPECT_FALSE(prepare({hop(gateway_, 0, 1)}));
    EXPECT_TRUE(prepare({hop(gateway_, 0, 2)}));
    EXPECT_TRUE(prepare({}));
    EXPECT_TRUE(book_.watched().empty());
}

TEST_F(LinkBookTest, NeighboursOnAPortsLinkAreClients) {
    book_.hear({backend_, wan}, mac_);
    EXPECT_EQ(resolve_client(backend_, 2), mac_);
    EXPECT_EQ(resolve_client(backend_, 0), std::nullopt);
    book_.hear({backend_, wan}, std::nullopt);
    EXPECT_EQ(resolve_client(backend_, 2), std::nullopt);
    book_.hear({gateway_, other}, mac_);
    EXPECT_EQ(std::count_if(slots_.begin(), slots_.end(), [](const auto& slot) { return slot.link != 0; }), 0)
        << "no port of ours";
}

TEST_F(LinkBookTest, WhoWasSentToIsRenewed) {
    const auto renewed = [this] {
        std::vector<Neighbour> all;
        for (std::size_t i = 0; i < LinkBook::renewal_parts; ++i) {
            const auto part = book_.next_used();
            all.insert(all.end(), part.begin(), part.end());
        }
        return all;
    };
    book_.hear({backend_, wan}, mac_);
    book_.hear({gateway_, lan}, mac_);
    EXPECT_TRUE(renewed().empty());
    EXPECT_EQ(resolve_client(backend_, 2), mac_);
    EXPECT_EQ(renewed(), (std::vector<Neighbour>{{backend_, wan}}));
    EXPECT_TRUE(renewed().empty()) << "not sent to since";
}

}  // namespace
}  // namespace shunt::dataplane
