#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/publish/reachable.h"
#include "src/shm/generation.h"
#include "tests/support/fleet.h"

namespace shunt::controlplane {
namespace {

using test::Fleet;

class Sharing : public ::testing::Test {
  protected:
    // The blocks that this state needs and the one before did not.
    std::vector<Extent> publish_and_compare() {
        EXPECT_TRUE(compiler_.compile(fleet_.inputs()));
        const auto generation = publisher_.publish(compiler_.image());
        EXPECT_TRUE(generation) << generation.error().text();
        const auto& header = *reinterpret_cast<const shm::TablesHeader*>(publisher_.region());
        auto now = reachable(publisher_.region(), *shm::find_root(header, *generation));
        std::vector<Extent> fresh;
        std::set_difference(now.begin(), now.end(), blocks_.begin(), blocks_.end(), std::back_inserter(fresh));
        blocks_ = std::move(now);
        return fresh;
    }
    static std::uint64_t bytes(const std::vector<Extent>& extents) {
        std::uint64_t sum = 0;
        for (const Extent& extent : extents) sum += extent.bytes;
        return sum;
    }

    Fleet fleet_{7, 300};
    Compiler compiler_{};
    Publisher publisher_ = Publisher::in_memory();
    std::vector<Extent> blocks_{};
};

TEST_F(Sharing, AChangeToOneServiceWritesOnlyItsOwnBlocks) {
    publish_and_compare();
    for (std::size_t s = 0; s < fleet_.state.services.size(); s += 7) {
        config::Service& service = fleet_.state.services[s];
        if (service.backends.empty()) continue;
        service.backends[0].weight += 1;
        const std::size_t vips = service.vips.size(), backends = service.backends.size();
        const auto fresh = publish_and_compare();
        // Two tables of slots; handles, a page of listeners and perhaps of backends for each; one page of services;
        // three tables of pages and the root.
        EXPECT_LE(fresh.size(), 2 + 2 * vips + std::min<std::size_t>(backends * vips, 4) + 1 + 3 + 1);
        EXPECT_LE(bytes(fresh), 80'000U);
        EXPECT_LT(fresh.size(), blocks_.size() / 10);
    }
}

TEST_F(Sharing, ListenersOfOneServiceHaveTheSameSlots) {
    config::Service service{.name = "many", .table_size = 1021};
    for (std::uint16_t port = 1; port <= 20; ++port) {
        service.vips.push_back({IpAddress::v4(203, 0, 113, 1), Be16(port), Protocol::tcp});
    }
    service.backends = {{.address = IpAddress::v4(203, 0, 113, 2), .port = 80}};
    fleet_.state.services.push_back(service);
    publish_and_compare();
    const shm::Tables tables = publisher_.tables();
    std::set<shm::BlockOffset> slots;
    for (std::uint32_t i = 1; i < tables.listeners.count(); ++i) {
        const shm::ListenerRecord& listener = tables.listeners[i];
        if (shm::name_of(tables.services[listener.service.value]) == "many") slots.insert(listener.slots);
    }
    EXPECT_EQ(slots.size(), 1U);
}

TEST_F(Sharing, SpaceIsUsedAgain) {
    publish_and_compare();
    Publisher small = Publisher::in_memory(std::uint64_t{6} << 20);
    for (int step = 0; step < 150; ++step) {
        ASSERT_TRUE(compiler_.compile(fleet_.inputs()));
        const auto generation = small.publish(compiler_.image());
        ASSERT_TRUE(generation) << "step " << step << ": " << generation.error().text();
        for (config::Service& service : fleet_.state.services) {
            if (!service.backends.empty() && fleet_.below(4) == 0) service.backends[0].weight ^= 1;
        }
    }
}

TEST_F(Sharing, AFullRegionRefusesAndStaysAsItWas) {
    Publisher small = Publisher::in_memory(std::uint64_t{160} << 10);
    Fleet little(1, 3);
    ASSERT_TRUE(compiler_.compile(little.inputs()));
    const auto first = small.publish(compiler_.image());
    ASSERT_TRUE(first);
    Compiler other;
    ASSERT_TRUE(other.compile(fleet_.inputs()));
    for (int attempt = 0; attempt < 3; ++attempt) {
        const auto refused = small.publish(other.image());
        ASSERT_FALSE(refused);
        EXPECT_NE(refused.error().message.find("the region is full"), std::string::npos) << refused.error().text();
        EXPECT_EQ(small.tables().generation(), *first);
    }
    little.seed.words[0] = 77;
    ASSERT_TRUE(compiler_.compile(little.inputs()));
    EXPECT_TRUE(small.publish(compiler_.image()));
    EXPECT_EQ(small.tables().site_seed().words[0], 77U);
}

}  // namespace
}  // namespace shunt::controlplane
