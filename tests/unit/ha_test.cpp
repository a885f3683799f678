// The control plane's part in high availability: its track file, the role, and whether this node is ready.
#include "controlplane/ha/ha.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/temporary_directory.h"

namespace shunt::controlplane {
namespace {

using State = shm::NodeHealth::State;

constexpr Duration ms(std::int64_t n) { return Duration::milliseconds(n); }
constexpr Duration hold = ms(3000);

class HaTest : public testing::Test {
  protected:
    HaTest() { ha_.configure(config::Ha{.hold = hold}); }

    static std::string text(const std::string& path) {
        std::ostringstream text;
        text << std::ifstream(path).rdbuf();
        return text.str();
    }
    static void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

    // A look after `d`; the heartbeat moved meanwhile, if somebody lives.
    void look(bool moves = true, Duration d = Ha::interval) {
        now_ = now_ + d;
        if (moves) signs_.heartbeat = now_.nanoseconds;
        ha_.look(signs_, now());
    }
    void looks(Duration d, bool moves = true) {
        for (const Instant end = now_ + d; now_ < end;) look(moves);
    }
    void live(Duration d) {
        signs_ = {.held = true, .heartbeat = now_.nanoseconds, .health = {.state = State::fit}};
        looks(d);
    }
    Now now() const { return {now_, 1'700'000'000'000}; }
    std::string last_event() const { return events_.all().empty() ? "" : events_.all().back().text; }

    test::TemporaryDirectory directory_{};
    const std::string path_ = directory_.path("ha.controlplane");
    Events events_{};
    Instant now_{Duration::seconds(1000).nanoseconds};
    DataplaneSigns signs_{};
    Ha ha_{directory_.path(), events_};
};

TEST_F(HaTest, TheFileComesToZeroOnlyAfterTheHold) {
    live(hold);
    EXPECT_EQ(text(path_), "1\n");
    looks(ms(50));
    EXPECT_EQ(text(path_), "0\n");
}

TEST_F(HaTest, AStartLeavesTheFileAsItIs) {
    write(path_, "0\n");
    Ha restarted(directory_.path(), events_);
    restarted.configure(config::Ha{.hold = hold});
    EXPECT_EQ(text(path_), "0\n");
    for (int i = 0; i < 3; ++i) {
        now_ = now_ + Ha::interval;
        restarted.look({.held = true, .heartbeat = now_.nanoseconds, .health = {}}, now());
    }
    EXPECT_EQ(text(path_), "0\n");
}

TEST_F(HaTest, ADataPlaneThatIsGoneIsSeenAtOnce) {
    live(hold + ms(50));
    signs_ = {};
    look(false);
    EXPECT_EQ(text(path_), "0\n") << "a successor may be about to come";
    look(false);
    EXPECT_EQ(text(path_), "1\n");
    EXPECT_EQ(last_event(), "no data plane is running");
    live(hold - ms(50));
    EXPECT_EQ(text(path_), "1\n");
    looks(ms(100));
    EXPECT_EQ(text(path_), "0\n");
}

TEST_F(HaTest, AHeartbeatThatStandsStillIsSeenAfterAWhile) {
    live(hold + ms(50));
    looks(Pulse::still_limit - ms(25), false);
    EXPECT_EQ(text(path_), "0\n");
    looks(ms(50), false);
    EXPECT_EQ(text(path_), "1\n");
    EXPECT_EQ(last_event(), "the data plane's heartbeat stands still");
    look();
    EXPECT_EQ(last_event(), "the data plane lives");
}

TEST_F(HaTest, ATimeInWhichWeDidNotRunProvesNothing) {
    live(hold + ms(50));
    look(false, Duration::seconds(60));
    EXPECT_EQ(text(path_), "0\n");
}

TEST_F(HaTest, WhileItIsHeldBackAOneStaysAndAZeroToo) {
    ha_.hold_back("flows of the peer are still coming");
    live(hold * 2);
    EXPECT_EQ(text(path_), "1\n");
    EXPECT_EQ(ha_.reasons_against().front(), "flows of the peer are still coming");
    ha_.hold_back("");
    looks(ms(50));
    EXPECT_EQ(text(path_), "0\n");
    ha_.hold_back("again");
    looks(hold);
    EXPECT_EQ(text(path_), "0\n");
}

TEST_F(HaTest, WhileItIsWithdrawnTheFileSaysOne) {
    live(hold + ms(50));
    ha_.withdraw("the node is drained");
    look();
    EXPECT_EQ(text(path_), "1\n");
    EXPECT_EQ(ha_.reasons_against().front(), "the node is drained");
    looks(hold * 2);
    EXPECT_EQ(text(path_), "1\n");
    ha_.withdraw("");
    looks(hold - ms(50));
    EXPECT_EQ(text(path_), "1\n");
    looks(ms(100));
    EXPECT_EQ(text(path_), "0\n");
}

TEST_F(HaTest, AFileThatCannotBeWrittenIsAProblemUntilItCan) {
    live(hold + ms(50));
    std::filesystem::remove(path_);
    std::filesystem::create_directory(path_);
    signs_ = {};
    looks(ms(100), false);
    EXPECT_NE(ha_.problem().find(path_ + ": cannot write this file: Is a directory"), std::string::npos);
    EXPECT_EQ(last_event(), ha_.problem());
    std::filesystem::remove(path_);
    look(false);
    EXPECT_EQ(ha_.problem(), "");
    EXPECT_EQ(text(path_), "1\n");
}

TEST_F(HaTest, WithoutHaThereAreNoFiles) {
    ha_.configure(std::nullopt);
    live(hold);
    EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
    EXPECT_TRUE(ha_.reasons_against().empty());
}

TEST_F(HaTest, ItIsReadyWhenBothFilesSaySo) {
    live(hold + ms(50));
    EXPECT_EQ(ha_.reasons_against(), std::vector<std::string>{directory_.path("ha.dataplane") + " cannot be read"});
    write(directory_.path("ha.dataplane"), "1\n");
    EXPECT_EQ(ha_.reasons_against(), std::vector<std::string>{directory_.path("ha.dataplane") + " says 1"});
    write(directory_.path("ha.dataplane"), "0\n");
    EXPECT_TRUE(ha_.reasons_against().empty());
    signs_.health = {.state = State::unfit, .fault = shm::NodeFault::link_down};
    signs_.fault = "port lan0 has no link";
    look();
    EXPECT_EQ(ha_.reasons_against(), std::vector<std::string>{"port lan0 has no link"});
    EXPECT_EQ(last_event(), "this node cannot serve: port lan0 has no link");
    signs_.health = {.state = State::held};
    signs_.fault = "";
    look();
    EXPECT_FALSE(ha_.reasons_against().empty());
    signs_ = {};
    looks(ms(100), false);
    EXPECT_EQ(ha_.reasons_against().front(), "no data plane is running");
}

TEST_F(HaTest, TheRoleOutlivesARestart) {
    EXPECT_EQ(ha_.role(), RoleTaken{});
    ASSERT_TRUE(ha_.take_role(Role::backup, "uid 0", now()));
    ASSERT_TRUE(ha_.take_role(Role::master, "uid 0", now()));
    EXPECT_EQ(last_event(), "role master, after backup; says uid 0");
    const Ha restarted(directory_.path(), events_);
    EXPECT_EQ(restarted.role(), (RoleTaken{Role::master, 1'700'000'000'000, "uid 0"}));
    const std::size_t events = events_.all().size();
    ASSERT_TRUE(ha_.take_role(Role::master, "uid 0", now()));
    EXPECT_EQ(events_.all().size(), events) << "nothing new";
}

TEST_F(HaTest, ARoleFileThatIsDamagedWasNeverWritten) {
    for (const char* damaged :
         {"", "{", "[]", "{\"role\":1}", "{\"role\":\"captain\",\"since_unix_ms\":1,\"who\":\"\"}",
          "{\"role\":\"master\",\"since_unix_ms\":\"1\",\"who\":\"\"}"}) {
        write(directory_.path("ha.role"), damaged);
        EXPECT_EQ(Ha(directory_.path(), events_).role(), RoleTaken{}) << damaged;
    }
}

TEST_F(HaTest, ARoleThatCannotBeKeptIsRefused) {
    std::filesystem::create_directory(directory_.path("ha.role"));
    EXPECT_FALSE(ha_.take_role(Role::master, "uid 0", now()));
    EXPECT_EQ(ha_.role(), RoleTaken{});
}

TEST(Role, IsReadAsKeepalivedWritesIt) {
    EXPECT_EQ(parse_role("MASTER"), Role::master);
    EXPECT_EQ(parse_role("Backup"), Role::backup);
    EXPECT_EQ(parse_role("fault"), Role::fault);
    EXPECT_FALSE(parse_role("STOP"));
    EXPECT_FALSE(parse_role(""));
}

}  // namespace
}  // namespace shunt::controlplane
