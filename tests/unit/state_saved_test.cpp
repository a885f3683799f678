// What is kept on disk, and what a start makes of it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "controlplane/state/boot.h"
#include "controlplane/state/saved.h"
#include "controlplane/state/store.h"

namespace shunt::controlplane {
namespace {

constexpr Now at{{5'000'000'000}, 1'700'000'000'000};

constexpr const char* configuration = R"(version = 1
[node]
name = "lb1"
[[service]]
name = "web"
vip = ["198.18.0.10:80/tcp"]
table_size = 1021
  [[service.backend]]
  address = "198.18.2.11"
)";

Wanted example() {
    Wanted wanted;
    wanted.desired.services = {{.name = "web",
                                .vips = {{*IpAddress::parse("198.18.0.10"), Be16(80), Protocol::tcp}},
                                .table_size = 1021,
                                .backends = {{.address = *IpAddress::parse("198.18.2.11")}}}};
    wanted.overrides = {{.service = "web",
                         .backend = "198.18.2.11:0",
                         .state = config::BackendState::maint,
                         .owner = "uid 0",
                         .reason = "a \"quoted\"\nreason",
                         .made_unix_ms = 12345,
                         .expires = at.instant + Duration::seconds(90)},
                        {.service = "web", .backend = "198.18.2.11:0", .kind = OverrideKind::weight, .weight = 7}};
    wanted.revision = 42;
    wanted.origin = Origin::api;
    wanted.file_hash = 0xdeadbeef00000001;
    return wanted;
}

class Directory : public testing::Test {
  protected:
    Directory() {
        char name[] = "/tmp/shunt-state-XXXXXX";
        path_ = mkdtemp(name);
    }
    ~Directory() override { std::filesystem::remove_all(path_); }
    void write(const std::string& file, const std::string& text) const { std::ofstream(path_ + "/" + file) << text; }
    std::string read(const std::string& file) const {
        std::stringstream text;
        text << std::ifstream(path_ + "/" + file).rdbuf();
        return text.str();
    }
    std::string path_;
    Events events_{};
};

TEST(Saved, ComesBackAsItWas) {
    const auto wanted = example();
    const auto read = read_saved(write_saved(wanted, at), "state.toml", at);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(*read, wanted);
}

TEST(Saved, TimeToLiveRunsOnWhileNobodyRuns) {
    const auto text = write_saved(example(), at);
    const Now later{{700'000'000'000}, at.unix_ms + 60'000};
    const auto read = read_saved(text, "state.toml", later);
    ASSERT_TRUE(read);
    EXPECT_EQ(*read->overrides[0].expires, later.instant + Duration::seconds(30));
}

TEST(Saved, EveryTruncationAndEveryFlippedBitIsRefused) {
    const auto text = write_saved(example(), at);
    for (std::size_t size = 0; size < text.size(); ++size) {
        EXPECT_FALSE(read_saved(std::string_view(text).substr(0, size), "f", at)) << size;
    }
    for (std::size_t byte = 0; byte < text.size(); ++byte) {
        auto damaged = text;
        damaged[byte] = static_cast<char>(damaged[byte] ^ 1);
        EXPECT_FALSE(read_saved(damaged, "f", at)) << byte;
    }
}

TEST_F(Directory, StoreReplacesTheWholeFile) {
    Store store(path_ + "/deep/er");
    ASSERT_TRUE(store.open());
    EXPECT_FALSE(store.load()->has_value());
    ASSERT_TRUE(store.save("one, and longer"));
    ASSERT_TRUE(store.save("two"));
    EXPECT_EQ(**store.load(), "two");
    EXPECT_FALSE(std::filesystem::exists(store.path() + ".new"));
    struct stat mode {};
    ASSERT_EQ(stat(store.path().c_str(), &mode), 0);
    EXPECT_EQ(mode.st_mode & 0777, 0600u);
}

TEST_F(Directory, ASaveThatFailsLeavesTheOldFile) {
    Store store(path_);
    ASSERT_TRUE(store.save("one"));
    std::filesystem::create_directory(store.path() + ".new");  // in the way
    const auto saved = store.save("two");
    ASSERT_FALSE(saved);
    EXPECT_NE(saved.error().text().find("cannot save the state"), std::string::npos);
    EXPECT_EQ(**store.load(), "one");
}

TEST_F(Directory, WithoutASavedStateTheFileCounts) {
    write("shunt.toml", configuration);
    Store store(path_);
    const auto start = boot(store, path_ + "/shunt.toml", events_, at);
    ASSERT_TRUE(start) << start.error().text();
    EXPECT_FALSE(start->from_saved_state);
    EXPECT_EQ(start->wanted.desired.node.name, "lb1");
    EXPECT_EQ(start->wanted.file_hash, text_hash(configuration));
}

TEST_F(Directory, TheSavedStateWinsOverTheFile) {
    write("shunt.toml", configuration);
    Store store(path_);
    ASSERT_TRUE(store.save(write_saved(example(), at)));
    const auto start = boot(store, path_ + "/shunt.toml", events_, at);
    ASSERT_TRUE(start);
    EXPECT_TRUE(start->from_saved_state);
    EXPECT_EQ(start->wanted, example());
    EXPECT_TRUE(events_.all().empty());
}

TEST_F(Directory, ADamagedSavedStateIsSetAsideLoudly) {
    write("shunt.toml", configuration);
    Store store(path_);
    write("state.toml.damaged.1", "an earlier one");
    for (const auto& text : {write_saved(example(), at).substr(0, 100), std::string{}, std::string("\0\0\0", 3)}) {
        events_ = Events{};
        write("state.toml", text);
        const auto start = boot(store, path_ + "/shunt.toml", events_, at);
        ASSERT_TRUE(start);
        EXPECT_FALSE(start->from_saved_state);
        ASSERT_EQ(events_.all().size(), 1u);
        EXPECT_EQ(events_.all()[0].level, EventLevel::error);
        EXPECT_FALSE(std::filesystem::exists(store.path()));
    }
    EXPECT_EQ(read("state.toml.damaged.1"), "an earlier one");
    EXPECT_EQ(read("state.toml.damaged.2"), write_saved(example(), at).substr(0, 100));
}

TEST_F(Directory, ASeedFileMustHoldEnough) {
    write("short", "123456789012345");
    write("long", "1234567890123456");
    EXPECT_FALSE(read_seed(path_ + "/short"));
    EXPECT_FALSE(read_seed(path_ + "/absent"));
    const auto seed = read_seed(path_ + "/long");
    ASSERT_TRUE(seed);
    EXPECT_NE(seed->words[0], seed->words[1]);
}

}  // namespace
}  // namespace shunt::controlplane
