#include <gtest/gtest.h>

#include <vector>

#include "dataplane/tables/link_addresses.h"

namespace shunt::dataplane {
namespace {

const MacAddress one{{2, 0, 0, 0, 0, 1}};
const MacAddress two{{2, 0, 0, 0, 0, 2}};

class LinkAddressesTest : public testing::Test {
  protected:
    std::vector<shm::LinkWord> words = std::vector<shm::LinkWord>(16);
    std::vector<shm::NeighbourSlot> slots = std::vector<shm::NeighbourSlot>(64);
    LinkAddresses links{words, slots};

    static shm::NextHopRecord hop(std::uint16_t version, std::uint8_t flags = 0) {
        shm::NextHopRecord record{};
        record.version = version;
        record.flags = flags;
        return record;
    }
};

std::optional<MacAddress> resolve(const LinkAddresses& links, NextHopIndex index, const shm::NextHopRecord& record,
                                  const IpAddress& destination) {
    const MacAddress mac = MacAddress::of_word(links.resolve(index, record, destination));
    return mac != MacAddress{} ? std::optional(mac) : std::nullopt;
}

TEST_F(LinkAddressesTest, AListedNextHopIsKnownOnceItIsSet) {
    EXPECT_FALSE(resolve(links, NextHopIndex(3), hop(1), {}));
    links.set_next_hop(NextHopIndex(3), 1, one);
    EXPECT_EQ(resolve(links, NextHopIndex(3), hop(1), {}), one);
    links.set_next_hop(NextHopIndex(3), 1, two);
    EXPECT_EQ(resolve(links, NextHopIndex(3), hop(1), {}), two);
    links.set_next_hop(NextHopIndex(3), 1, std::nullopt);
    EXPECT_FALSE(resolve(links, NextHopIndex(3), hop(1), {}));
}

TEST_F(LinkAddressesTest, AnIndexGivenToAnotherAddressDoesNotKeepTheOldOnes) {
    links.set_next_hop(NextHopIndex(3), 1, one);
    EXPECT_FALSE(resolve(links, NextHopIndex(3), hop(2), {}));
}

TEST_F(LinkAddressesTest, AStaticAddressWins) {
    auto record = hop(1, shm::NextHopRecord::has_static);
    record.mac = two;
    links.set_next_hop(NextHopIndex(3), 1, one);
    EXPECT_EQ(resolve(links, NextHopIndex(3), record, {}), two);
}

TEST_F(LinkAddressesTest, HostsOnConnectedSubnetsAreFoundByAddressAndPort) {
    auto record = hop(1, shm::NextHopRecord::on_link);
    const IpAddress host = IpAddress::v4(198, 18, 1, 7);
    EXPECT_TRUE(links.set_neighbour(host, PortIndex(0), one));
    EXPECT_EQ(resolve(links, NextHopIndex(1), record, host), one);
    EXPECT_FALSE(resolve(links, NextHopIndex(1), record, IpAddress::v4(198, 18, 1, 8)));
    record.port = PortIndex(1);
    EXPECT_FALSE(resolve(links, NextHopIndex(1), record, host));
    record.port = PortIndex(0);
    EXPECT_TRUE(links.set_neighbour(host, PortIndex(0), two));
    EXPECT_EQ(resolve(links, NextHopIndex(1), record, host), two);
    links.set_neighbour(host, PortIndex(0), std::nullopt);
    EXPECT_FALSE(resolve(links, NextHopIndex(1), record, host));
}

TEST_F(LinkAddressesTest, AFullHashSaysSo) {
    std::uint32_t refused = 0;
    for (std::uint32_t n = 0; n < 200; ++n) {
        refused += !links.set_neighbour(IpAddress::v4(Be32(0xc6120000U + n)), PortIndex(0), one);
    }
    EXPECT_GE(refused, 200U - 64U);
    auto record = hop(1, shm::NextHopRecord::on_link);
    std::uint32_t known = 0;
    for (std::uint32_t n = 0; n < 200; ++n) {
        known += resolve(links, NextHopIndex(1), record, IpAddress::v4(Be32(0xc6120000U + n))).has_value();
    }
    EXPECT_EQ(known, 200U - refused);
}

}  // namespace
}  // namespace shunt::dataplane
