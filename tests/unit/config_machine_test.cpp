// What the flow table asks of the machine: memory and time.
#include "src/config/machine.h"

#include <gtest/gtest.h>

#include "src/config/toml.h"

namespace shunt::config {
namespace {

constexpr const char* meminfo =
    "MemTotal:       16777216 kB\n"
    "MemFree:         1000000 kB\n"
    "MemAvailable:    4194304 kB\n"
    "HugePages_Total:    1024\n"
    "HugePages_Free:      600\n"
    "HugePages_Rsvd:       88\n"
    "Hugepagesize:       2048 kB\n";
constexpr std::uint64_t gibibyte = std::uint64_t{1} << 30;

DesiredState with_flows(std::uint64_t flows) {
    DesiredState state;
    state.dataplane.flows = flows;
    state.dataplane.workers = 2;
    return state;
}

TEST(Machine, SaysWhatItHas) {
    const Machine machine = parse_meminfo(meminfo);
    EXPECT_EQ(machine.memory, 16 * gibibyte);
    EXPECT_EQ(machine.available, 4 * gibibyte);
    EXPECT_EQ(machine.huge_available, gibibyte);  // 512 pages: the others are promised to somebody
    EXPECT_EQ(parse_meminfo("").memory, 0U);
    EXPECT_EQ(parse_meminfo("MemTotal").memory, 0U);
    EXPECT_GT(this_machine().memory, gibibyte / 4);
    EXPECT_GE(this_machine().memory, this_machine().available);
}

TEST(Machine, ATableLargerThanItIsRefusedWithFiguresAndRemedy) {
    const Machine machine = parse_meminfo(meminfo);
    EXPECT_TRUE(examine_memory(with_flows(10'000'000), machine).errors.empty());
    EXPECT_TRUE(examine_memory(with_flows(10'000'000), machine).warnings.empty());
    const auto findings = examine_memory(with_flows(600'000'000), machine);
    ASSERT_EQ(findings.errors.size(), 1U);
    const Error& error = findings.errors[0];
    EXPECT_EQ(error.key, "dataplane.flows");
    EXPECT_NE(error.message.find("600000000 flows on 2 workers need 18"), std::string::npos) << error.message;
    EXPECT_NE(error.message.find("this machine has 16384 MiB"), std::string::npos) << error.message;
    EXPECT_NE(error.remedy, "");
}

TEST(Machine, OneThatIsNotFreeNowIsWarnedAbout) {
    const Machine machine = parse_meminfo(meminfo);
    const auto findings = examine_memory(with_flows(200'000'000), machine);
    EXPECT_TRUE(findings.errors.empty());
    ASSERT_EQ(findings.warnings.size(), 1U);
    EXPECT_NE(findings.warnings[0].message.find("free now are 4096 MiB, and 1024 MiB in huge pages"), std::string::npos)
        << findings.warnings[0].message;
    Machine huge = machine;
    huge.huge_available = 8 * gibibyte;
    EXPECT_TRUE(examine_memory(with_flows(200'000'000), huge).warnings.empty());
    EXPECT_TRUE(examine_memory(with_flows(600'000'000), Machine{}).errors.empty());  // nothing is known
}

TEST(Machine, TheMostAFileMaySayIsRefusedHereWithItsPlace) {
    Positions positions;
    const auto state = parse_toml("version = 1\n[dataplane]\nflows = 1_073_741_824\n", "shunt.toml", &positions);
    ASSERT_TRUE(state);
    Machine machine = parse_meminfo(meminfo);
    const auto findings = examine_memory(*state, machine, positions);
    ASSERT_EQ(findings.errors.size(), 1U);
    EXPECT_EQ(findings.errors[0].file, "shunt.toml");
    EXPECT_EQ(findings.errors[0].line, 3U);
}

// Below a second and above a week: wherever timeouts stand, and whichever it is.
TEST(Timeouts, OutOfRangeIsRefused) {
    for (const std::string key : {"tcp_established", "tcp_syn", "tcp_fin", "udp"}) {
        for (const std::string table : {"[dataplane]", "[[service]]\nname = \"web\"\nvip = [\"198.18.0.10:80/tcp\"]"}) {
            const auto parse = [&](const std::string& value) {
                return parse_toml("version = 1\n" + table + "\ntimeouts = { " + key + " = \"" + value + "\" }\n",
                                  "shunt.toml");
            };
            for (const char* good : {"1s", "1000ms", "7d", "168h"}) EXPECT_TRUE(parse(good)) << key << " " << good;
            for (const char* wrong : {"0s", "999ms", "169h", "8d"}) {
                const auto state = parse(wrong);
                ASSERT_FALSE(state) << key << " " << wrong;
                EXPECT_TRUE(state.error().key.ends_with("timeouts." + key)) << state.error().key;
                EXPECT_NE(state.error().remedy.find("1s to 7d"), std::string::npos) << state.error().remedy;
                EXPECT_GT(state.error().column, 0U);
            }
        }
    }
}

}  // namespace
}  // namespace shunt::config
