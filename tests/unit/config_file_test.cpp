#include "src/config/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "src/config/toml.h"

namespace shunt::config {
namespace {

class ConfigFile : public testing::Test {
  protected:
    ~ConfigFile() override { std::filesystem::remove_all(directory_); }

    std::string path(const char* name) const { return directory_ / name; }
    std::string written(const char* name, const std::string& text) const {
        std::ofstream(path(name), std::ios::binary) << text;
        return path(name);
    }

  private:
    static std::filesystem::path make() {
        std::string name = testing::TempDir() + "shunt-config-XXXXXX";
        return ::mkdtemp(name.data());
    }
    std::filesystem::path directory_{make()};
};

TEST_F(ConfigFile, IsRead) {
    const std::string good = written("good.toml", "version = 1\n[node]\nname = \"lb7\"\n");
    const auto state = load_file(good);
    ASSERT_TRUE(state);
    EXPECT_EQ(state->node.name, "lb7");
}

TEST_F(ConfigFile, ErrorsNameTheFile) {
    const std::string bad = written("bad.toml", "version = 1\nnodes = 5\n");
    EXPECT_EQ(load_file(bad).error().text(), bad + ":2:1: unknown key \"nodes\"; did you mean \"node\"?");
}

TEST_F(ConfigFile, SaysWhyItCannotBeRead) {
    const auto sentence = [this](const char* name) { return load_file(path(name)).error().text(); };
    EXPECT_EQ(sentence("none.toml"),
              path("none.toml") + ": cannot read this file: No such file or directory; check the name");
    std::filesystem::create_directory(path("directory"));
    EXPECT_EQ(sentence("directory"), path("directory") + ": cannot read this file: Is a directory; name a file in it");
    written("closed.toml", "version = 1");
    std::filesystem::permissions(path("closed.toml"), std::filesystem::perms::none);
    const uid_t user = ::geteuid();
    ASSERT_TRUE(user != 0 || ::seteuid(65534) == 0);  // root may read everything
    const std::string closed = sentence("closed.toml");
    ASSERT_EQ(::seteuid(user), 0);
    EXPECT_NE(closed.find("Permission denied; check the permissions"), std::string::npos) << closed;
}

TEST_F(ConfigFile, IsBoundedInSize) {
    const std::string large = written("large.toml", std::string(max_toml_bytes + 1, '\n'));
    EXPECT_EQ(load_file(large).error().text(), large + ": it is larger than 32 MiB; name a configuration file");
    EXPECT_EQ(load_file("/dev/zero").error().message, "it is larger than 32 MiB");
}

}  // namespace
}  // namespace shunt::config
