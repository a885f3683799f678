#include <gtest/gtest.h>

#include <vector>

#include "controlplane/compile/admission.h"

namespace shunt::controlplane {
namespace {

using shm::BackendStatus;
using shm::Verdict;

config::Service service(std::size_t backends, bool checked = true) {
    config::Service service{.name = "web", .table_size = 17};
    if (checked) service.check = config::Check{};
    for (std::size_t b = 0; b < backends; ++b) {
        service.backends.push_back(
            {.address = IpAddress::v4(198, 18, 2, static_cast<std::uint8_t>(b + 1)), .port = 80});
    }
    return service;
}

std::vector<BackendStatus> statuses(const config::Service& service, std::vector<Verdict> verdicts,
                                    std::vector<Past> past) {
    std::vector<BackendStatus> found;
    for (const Admission& admission : admit(service, verdicts, past)) found.push_back(admission.status);
    return found;
}

TEST(Admission, NobodyWasEverCheckedSoAllAreIn) {
    const std::vector all(2, BackendStatus::ready);
    EXPECT_EQ(statuses(service(2), {}, {Past::unknown, Past::unknown}), all);
    EXPECT_EQ(statuses(service(2), {Verdict::unchecked, Verdict::unchecked}, {Past::in, Past::unknown}), all);
}

TEST(Admission, WhoIsInStaysInUntilItsOwnFirstVerdict) {
    EXPECT_EQ(statuses(service(3), {Verdict::down, Verdict::up, Verdict::unchecked}, {Past::in, Past::in, Past::in}),
              (std::vector{BackendStatus::down, BackendStatus::ready, BackendStatus::ready}));
}

TEST(Admission, WhoComesNewIntoACheckedServiceWaitsForItsFirstSuccess) {
    const config::Service web = service(2);
    const auto fresh = admit(web, std::vector{Verdict::up, Verdict::unchecked}, std::vector{Past::in, Past::unknown});
    EXPECT_EQ(fresh[1].status, BackendStatus::down);
    EXPECT_TRUE(fresh[1].awaited);
    // It goes on waiting, also when nobody else has a verdict any more.
    const auto later =
        admit(web, std::vector{Verdict::unchecked, Verdict::unchecked}, std::vector{Past::in, Past::awaited});
    EXPECT_TRUE(later[1].awaited);
    const auto up = admit(web, std::vector{Verdict::up, Verdict::up}, std::vector{Past::in, Past::awaited});
    EXPECT_EQ(up[1].status, BackendStatus::ready);
    EXPECT_FALSE(up[1].awaited);
    const auto down = admit(web, std::vector{Verdict::up, Verdict::down}, std::vector{Past::in, Past::awaited});
    EXPECT_EQ(down[1].status, BackendStatus::down);
    EXPECT_FALSE(down[1].awaited);
}

TEST(Admission, WithoutACheckThereAreNoVerdicts) {
    EXPECT_EQ(statuses(service(2, false), {Verdict::down, Verdict::up}, {Past::in, Past::unknown}),
              std::vector(2, BackendStatus::ready));
}

TEST(Admission, TheOperatorsWordAndTheChecksCombine) {
    config::Service web = service(6);
    web.backends[0].state = config::BackendState::drain;
    web.backends[1].weight = 0;
    web.backends[2].state = config::BackendState::drain;
    web.backends[3].state = config::BackendState::maint;
    web.backends[4].state = config::BackendState::maint;
    EXPECT_EQ(statuses(web, {Verdict::up, Verdict::up, Verdict::down, Verdict::up, Verdict::down, Verdict::down},
                       std::vector(6, Past::in)),
              (std::vector{BackendStatus::drain, BackendStatus::drain, BackendStatus::down, BackendStatus::maint,
                           BackendStatus::maint, BackendStatus::down}));
}

TEST(FamilyTable, HoldsWhoIsReadyInKeyOrder) {
    config::Service web = service(3);
    web.backends[2].address = IpAddress::v4(198, 18, 2, 10);  // "198.18.2.10:80" comes before "198.18.2.1:80"
    web.backends.push_back({.address = *IpAddress::parse("2001:db8::1")});
    const auto admissions = admit(web, {}, std::vector(4, Past::in));
    const auto v4 = *make_table(web, Family::ipv4, admissions, {});
    EXPECT_EQ(v4.backends, (std::vector<std::uint32_t>{2, 0, 1}));
    EXPECT_EQ(v4.slots->size(), 17U);
    EXPECT_NE(v4.hash, 0U);
    EXPECT_EQ(make_table(web, Family::ipv6, admissions, {})->backends, (std::vector<std::uint32_t>{3}));
}

TEST(FamilyTable, IsUsedAgainWhileItsMembersStay) {
    config::Service web = service(3);
    const auto admissions = admit(web, {}, std::vector(3, Past::in));
    const auto first = *make_table(web, Family::ipv4, admissions, {});
    web.direct_access = true;
    EXPECT_EQ(make_table(web, Family::ipv4, admissions, first)->slots, first.slots);
    web.backends[0].weight = 50;
    EXPECT_NE(make_table(web, Family::ipv4, admissions, first)->slots, first.slots);
    web.backends[0].weight = 100;
    web.table_size = 101;
    EXPECT_NE(make_table(web, Family::ipv4, admissions, first)->slots, first.slots);
}

TEST(FamilyTable, RefusesASizeThatCannotBe) {
    config::Service web = service(18);
    const auto admissions = admit(web, {}, std::vector(18, Past::in));
    for (const std::uint32_t size : {17U, 18U, 1'000'003U}) {
        web.table_size = size;
        const auto refused = make_table(web, Family::ipv4, admissions, {});
        ASSERT_FALSE(refused) << size;
        EXPECT_EQ(refused.error().key, "service.web.table_size");
    }
}

}  // namespace
}  // namespace shunt::controlplane
