// The publisher dies at any store: whoever reads sees the old generation or the new one, and a successor goes on.
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/publisher.h"
#include "src/shm/generation.h"
#include "tests/support/fleet.h"
#include "tests/support/tables_oracle.h"
#include "tests/support/temporary_directory.h"

namespace shunt::controlplane {
namespace {

using test::Fleet;
using test::Oracle;

struct Died {};

class Crash : public ::testing::Test {
  protected:
    // Dies at the store with this number, from now on; -1: never.
    Publisher open(int dies_at) {
        NewTables options{.reserve_bytes = std::uint64_t{64} << 20, .random_seed = {{1, 2, 3, 4}}};
        options.after_store = [this, dies_at] {
            if (armed_ && stores_++ == dies_at) throw Died{};
        };
        auto publisher = Publisher::open(directory_->path(), directory_->path("state"), std::move(options));
        if (!publisher) ADD_FAILURE() << publisher.error().text();
        EXPECT_EQ(publisher->replaced(), "");
        return *std::move(publisher);
    }
    static Generation publish(Publisher& publisher, const Fleet& fleet) {
        Compiler compiler(publisher.tables());
        EXPECT_TRUE(compiler.compile(fleet.inputs()));
        const auto generation = publisher.publish(compiler.image());
        EXPECT_TRUE(generation) << generation.error().text();
        return *generation;
    }
    // What a data plane that starts now gets: everything is validated anew.
    std::optional<shm::Tables> read() {
        auto region = shm::Region::open(directory_->path("tables"), shm::Region::Access::read_only);
        EXPECT_TRUE(region) << region.error().text();
        reader_ = *std::move(region);
        const auto& header = reader_.at<const shm::TablesHeader>(0);
        state_ = shm::Region::anonymous(sizeof(shm::StateHeader));
        shm::Acceptor acceptor(reader_.data(), header.file_bytes.load(), state_.at<shm::StateHeader>(0));
        const auto tables = acceptor.validate_newest();
        EXPECT_EQ(state_.at<shm::StateHeader>(0).refused_generation.load(), 0U);
        return tables;
    }
    // Runs `change` on a publisher that has these histories behind it, until it dies; false once it does not.
    bool die_at(int store, const std::vector<Fleet>& history, const Fleet& last) {
        directory_ = std::make_unique<test::TemporaryDirectory>();
        armed_ = false;
        stores_ = 0;
        Publisher publisher = open(store);
        for (const Fleet& fleet : history) publish(publisher, fleet);
        armed_ = true;
        try {
            publish(publisher, last);
        } catch (const Died&) {
            armed_ = false;
            return true;
        }
        armed_ = false;
        return false;
    }
    void check_after_death(const Fleet* before, const Fleet& after, std::uint64_t old_generation) {
        const auto tables = read();
        ASSERT_EQ(tables.has_value(), before != nullptr || tables.has_value());
        if (tables) {
            const bool is_new = tables->generation().value > old_generation;
            Oracle().check(is_new ? after : *before, *tables);
        }
        // A successor finishes the work, and then much more, in what is free.
        Publisher successor = open(-1);
        Fleet fleet = after;
        for (int i = 0; i < 12; ++i) {
            publish(successor, fleet);
            const auto now = read();
            ASSERT_TRUE(now);
            Oracle().check(fleet, *now);
            fleet.seed.words[0] += 1;
            fleet.state.services[0].direct_access ^= true;
        }
    }

    std::unique_ptr<test::TemporaryDirectory> directory_{};
    shm::Region reader_{};
    shm::Region state_{};
    bool armed_{};
    int stores_{};
};

// No verdicts: then what a state means does not depend on what was before it, and a fresh oracle can judge.
Fleet plain(std::uint64_t seed, std::size_t services) {
    Fleet fleet(seed, services);
    for (config::Service& service : fleet.state.services) service.check.reset();
    return fleet;
}

TEST_F(Crash, InTheFirstPublication) {
    const Fleet fleet = plain(2, 3);
    int store = 0;
    for (; die_at(store, {}, fleet); ++store) {
        check_after_death(nullptr, fleet, 0);
        ASSERT_FALSE(HasFailure()) << "store " << store;
    }
    EXPECT_GT(store, 40);
}

TEST_F(Crash, InALaterPublicationThatUsesSpaceAgain) {
    std::vector<Fleet> history;
    Fleet fleet = plain(3, 5);
    for (int i = 0; i < 10; ++i) {
        history.push_back(fleet);
        fleet.state.services[static_cast<std::size_t>(i) % 5].direct_access ^= true;
    }
    fleet.state.services[1].backends.push_back({.address = IpAddress::v4(203, 0, 113, 9), .port = 7});
    int store = 0;
    for (; die_at(store, history, fleet); ++store) {
        check_after_death(&history.back(), fleet, history.size());
        ASSERT_FALSE(HasFailure()) << "store " << store;
    }
    EXPECT_GT(store, 20);
}

TEST_F(Crash, WhileTheFileGrows) {
    const Fleet small = plain(4, 3);
    Fleet large = plain(5, 150);
    for (config::Service& service : large.state.services) service.table_size = 16'381;
    bool grew = false;
    // Every store of the large publication would take long: a few at either side of the growth tell as much.
    for (int store = 0; store < 6000 && die_at(store, {small}, large); store += store < 20 ? 1 : 211) {
        const auto tables = read();
        ASSERT_TRUE(tables);
        grew |= reader_.at<const shm::TablesHeader>(0).file_bytes.load() > (2 << 20);
        Oracle().check(tables->generation().value == 1 ? small : large, *tables);
        ASSERT_FALSE(HasFailure()) << "store " << store;
    }
    EXPECT_TRUE(grew);
    Publisher successor = open(-1);
    publish(successor, large);
    Oracle().check(large, *read());
}

}  // namespace
}  // namespace shunt::controlplane
