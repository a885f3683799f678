#include <gtest/gtest.h>

#include <cstring>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/publish/reachable.h"
#include "src/shm/generation.h"
#include "src/shm/region.h"
#include "src/shm/validate.h"
#include "tests/support/fleet.h"
#include "tests/support/tables_oracle.h"

namespace shunt::controlplane {
namespace {

using test::Fleet;
using test::Oracle;

const shm::TablesHeader& header_of(const Publisher& publisher) {
    return *reinterpret_cast<const shm::TablesHeader*>(publisher.region());
}

// Publishes, and lets the data plane's validator judge.
class World {
  public:
    Generation publish(const Fleet& fleet) {
        const auto image = compiler.compile(fleet.inputs());
        if (!image) ADD_FAILURE() << image.error().text();
        const auto generation = publisher.publish(compiler.image());
        if (!generation) ADD_FAILURE() << generation.error().text();
        const auto root = shm::find_root(header_of(publisher), *generation);
        EXPECT_TRUE(root);
        validator.set_source(publisher.region(), publisher.readable_bytes());
        EXPECT_FALSE(validator.check(*generation, *root));
        return *generation;
    }

    Compiler compiler{};
    Publisher publisher = Publisher::in_memory();
    shm::Validator validator{publisher.region(), publisher.readable_bytes()};
};

TEST(RoundTrip, TablesSayWhatWasConfiguredThroughRandomHistories) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        Fleet fleet(seed);
        World world;
        Oracle oracle;
        for (int step = 0; step < 60; ++step) {
            world.publish(fleet);
            oracle.check(fleet, world.publisher.tables());
            ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed << ", step " << step;
            fleet.edit();
        }
    }
}

TEST(RoundTrip, ARestartChangesNothing) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        Fleet fleet(seed);
        World world;
        Oracle oracle;
        for (int step = 0; step < 40; ++step) {
            const Generation before = world.publish(fleet);
            oracle.check(fleet, world.publisher.tables());
            fleet.now = fleet.now + Duration::seconds(1);
            world.compiler = Compiler(world.publisher.tables());
            EXPECT_EQ(world.publish(fleet), before) << "seed " << seed << ", step " << step;
            ASSERT_FALSE(::testing::Test::HasFailure());
            fleet.edit();
        }
    }
}

// What is not counted as reachable would be written over one day.
TEST(RoundTrip, WhatARootReachesIsAllThatItNeeds) {
    Fleet fleet(5);
    World world;
    for (int step = 0; step < 20; ++step) {
        const Generation generation = world.publish(fleet);
        const auto root = shm::find_root(header_of(world.publisher), generation);
        ASSERT_TRUE(root);
        auto copy = shm::Region::anonymous(world.publisher.readable_bytes());
        for (const auto& [offset, bytes] : reachable(world.publisher.region(), *root)) {
            std::memcpy(copy.data() + offset, world.publisher.region() + offset, bytes);
        }
        shm::Validator validator(copy.data(), world.publisher.readable_bytes());
        EXPECT_FALSE(validator.check(generation, *root)) << step;
        fleet.edit();
    }
}

TEST(RoundTrip, WhatIsNotNewIsNotPublishedAgain) {
    Fleet fleet(1);
    World world;
    const Generation first = world.publish(fleet);
    fleet.now = fleet.now + Duration::seconds(3600);
    EXPECT_EQ(world.publish(fleet), first);
    fleet.seed.words[0] ^= 1;
    EXPECT_EQ(world.publish(fleet).value, first.value + 1);
}

TEST(RoundTrip, VerdictsAreReadBack) {
    Fleet fleet(3);
    World world;
    world.publish(fleet);
    std::size_t known = 0;
    const auto read = read_verdicts(world.publisher.tables());
    for (std::size_t s = 0; s < fleet.state.services.size(); ++s) {
        const config::Service& service = fleet.state.services[s];
        for (std::size_t b = 0; service.check && b < service.backends.size(); ++b) {
            const config::Backend& backend = service.backends[b];
            const bool used = std::any_of(service.vips.begin(), service.vips.end(), [&](const Vip& vip) {
                return can_serve(service.mode, vip.address.family(), backend.address.family());
            });
            if (!used || fleet.verdicts[s][b] == shm::Verdict::unchecked) continue;
            ++known;
            const auto found = read.find({service.name, backend.address, backend.port});
            ASSERT_NE(found, read.end());
            EXPECT_EQ(found->second, fleet.verdicts[s][b]);
        }
    }
    EXPECT_GT(known, 5U);
    EXPECT_EQ(read.size(), known);
}

}  // namespace
}  // namespace shunt::controlplane
