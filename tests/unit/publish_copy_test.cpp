// The data plane's copy of the tables: what happens to the control plane's file reaches no packet, and a file that is
// lost is made again from the copy (RELIABILITY R10).
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/publish/reachable.h"
#include "src/shm/generation.h"
#include "src/shm/state.h"
#include "src/shm/tables_copy.h"
#include "tests/support/fleet.h"
#include "tests/support/tables_oracle.h"
#include "tests/support/temporary_directory.h"

namespace shunt::controlplane {
namespace {

namespace fs = std::filesystem;
using test::Fleet;
using test::Oracle;

// A data plane without packets: a state region that it holds, a mapped tables file, a copy, and a worker's reader.
class DataPlane {
  public:
    explicit DataPlane(const test::TemporaryDirectory& directory) : directory_(directory) {
        const shm::StateShape shape{1, 64, 64, 0, 16};
        const std::uint64_t bytes = shm::StateLayout::of(shape).total;
        fs::remove(directory.path("state"));
        state_ = *shm::Region::create(directory.path("state"), bytes, bytes);
        shm::format_state(state_.data(), shape, {});
        EXPECT_TRUE(state_.try_lock());
        map();
        header().tables_identity = shm::identity_of(original());
        copy_.emplace(*shm::TablesCopy::make(shm::TablesCopy::path_of(directory.path("tables")), original()));
        acceptor_.emplace(tables_.data(), readable(), header(), &*copy_);
        reader_.emplace(copy_->data(), header(), shm::State(state_.data()).workers()[0]);
        reader_->go_online();
        turn();
    }
    // The file that has the name now.
    void map() {
        tables_ = *shm::Region::open(directory_.path("tables"), shm::Region::Access::read_only, reserved);
        tables_.survive_truncation();
        if (acceptor_) acceptor_->set_source(tables_.data(), readable());
    }
    // What is published, if it is sound; every worker takes it over.
    bool turn() {
        acceptor_->set_source(tables_.data(), readable());
        const auto tables = acceptor_->validate_newest();
        if (!tables) return false;
        acceptor_->accept(*tables);
        EXPECT_TRUE(copy_->take_name());
        in_use();
        return true;
    }
    const shm::Tables& in_use() {
        const shm::Tables& tables = reader_->acquire();
        reader_->quiesce();
        return tables;
    }
    void keep_name() { EXPECT_TRUE(copy_->take_name()); }
    std::uint64_t refused(shm::RefusalReason reason) {
        return header().refusals[static_cast<std::size_t>(reason)].read();
    }
    shm::StateHeader& header() { return state_.at<shm::StateHeader>(0); }
    static constexpr std::uint64_t reserved = std::uint64_t{64} << 20;

  private:
    const shm::TablesHeader& original() const { return tables_.at<const shm::TablesHeader>(0); }
    std::uint64_t readable() const { return std::min(tables_.file_bytes(), original().file_bytes.load()); }

    const test::TemporaryDirectory& directory_;
    shm::Region state_{}, tables_{};
    std::optional<shm::TablesCopy> copy_{};
    std::optional<shm::Acceptor> acceptor_{};
    std::optional<shm::GenerationReader> reader_{};
};

class Copy : public ::testing::Test {
  protected:
    // No verdicts: then what a state means does not depend on what was before it, and a fresh oracle can judge.
    Copy() {
        for (config::Service& service : fleet_.state.services) service.check.reset();
    }
    Publisher open(std::function<void()> after_store = {}) {
        auto publisher = Publisher::open(directory_.path(), directory_.path("state"),
                                         {.reserve_bytes = DataPlane::reserved,
                                          .random_seed = {{9, 8, ++opened_, 6}},
                                          .after_store = std::move(after_store)});
        if (!publisher) ADD_FAILURE() << publisher.error().text();
        return *std::move(publisher);
    }
    static Generation publish(Publisher& publisher, const Fleet& fleet) {
        Compiler compiler(publisher.tables());
        EXPECT_TRUE(compiler.compile(fleet.inputs()));
        const auto generation = publisher.publish(compiler.image());
        EXPECT_TRUE(generation) << generation.error().text();
        return *generation;
    }
    // The same ids go on, and a thing that is new gets new ones.
    void change() {
        fleet_.seed.words[0] += 1;
        fleet_.state.services[fleet_.below(fleet_.state.services.size())].direct_access ^= true;
    }
    // Twelve generations, of which the data plane accepted all.
    void make_history() {
        {
            Publisher publisher = open();
            publish(publisher, fleet_);
            dataplane_ = std::make_unique<DataPlane>(directory_);
            for (int i = 0; i < 11; ++i) {
                change();
                publish(publisher, fleet_);
                EXPECT_TRUE(dataplane_->turn());
            }
        }
        Oracle().check(fleet_, dataplane_->in_use());
    }
    static std::uint64_t next_serial(const Publisher& publisher) {
        return reinterpret_cast<const shm::TablesHeader*>(publisher.region())->next_serial.load();
    }
    // Blocks of the newest generation with this serial number or a higher one.
    static std::vector<Extent> blocks_since(const Publisher& publisher, std::uint64_t serial) {
        const auto& header = *reinterpret_cast<const shm::TablesHeader*>(publisher.region());
        auto blocks = reachable(publisher.region(), *shm::find_root(header, publisher.tables().generation()));
        std::erase_if(blocks, [&](const Extent& block) {
            return reinterpret_cast<const shm::BlockHeader*>(publisher.region() + block.offset)->serial < serial;
        });
        return blocks;
    }
    // Mostly of a new block, now and then of the header or anywhere.
    std::uint64_t pick_bit(const Publisher& publisher, const std::vector<Extent>& fresh) {
        switch (fleet_.below(8)) {
            case 0:
                return fleet_.below(sizeof(shm::TablesHeader) * 8);
            case 1:
                return fleet_.below(publisher.readable_bytes() * 8);
            default:
                const Extent& block = fresh[fleet_.below(fresh.size())];
                return (block.offset + fleet_.below(std::min<std::uint64_t>(block.bytes, 256))) * 8 + fleet_.below(8);
        }
    }
    std::string content(const std::string& name) const {
        std::ifstream in(directory_.path(name), std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    // Into the file itself, as whoever maps it sees it at once.
    void write(const std::string& name, const std::string& bytes) const {
        std::ofstream(directory_.path(name), std::ios::binary) << bytes;
    }

    test::TemporaryDirectory directory_{};
    Fleet fleet_{31, 6};
    std::unique_ptr<DataPlane> dataplane_{};
    std::uint64_t opened_{};
};

TEST_F(Copy, NothingThatHappensToTheFileReachesWhatIsInForce) {
    make_history();
    const std::string sound = content("tables");
    const shm::Tables before = dataplane_->in_use();
    for (const std::string& bytes : {std::string(), std::string("short"), std::string(sound.size(), 'x'),
                                     sound.substr(0, sound.size() / 2), std::string(8192, '\0')}) {
        write("tables", bytes);
        EXPECT_FALSE(dataplane_->turn());
        EXPECT_EQ(dataplane_->in_use().generation(), before.generation());
        Oracle().check(fleet_, dataplane_->in_use());
    }
    fs::remove(directory_.path("tables"));
    EXPECT_FALSE(dataplane_->turn());
    Oracle().check(fleet_, dataplane_->in_use());
}

TEST_F(Copy, AFileThatIsLostOrDamagedIsMadeAgainWithAllItsIds) {
    make_history();
    const std::string sound = content("tables");
    const auto& header = *reinterpret_cast<const shm::TablesHeader*>(sound.data());
    const std::uint64_t identity = shm::identity_of(header);
    const auto flipped = [&](std::size_t at) {
        std::string bytes = sound;
        bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
        return bytes;
    };
    const std::uint64_t newest = header.published.load();
    const std::size_t root = header.roots[newest % shm::root_ring].offset.load();
    const std::vector<std::optional<std::string>> damages{std::string(),
                                                          "short",
                                                          std::string(8192, 'x'),
                                                          flipped(0),
                                                          flipped(root + sizeof(shm::BlockHeader)),
                                                          sound.substr(0, sound.size() / 2),
                                                          std::nullopt};
    for (const auto& bytes : damages) {
        fs::remove(directory_.path("tables"));
        if (bytes) write("tables", *bytes);
        const Generation accepted = dataplane_->in_use().generation();
        Publisher publisher = open();
        EXPECT_NE(publisher.replaced().find("every flow keeps its backend"), std::string::npos) << publisher.replaced();
        EXPECT_EQ(publisher.tables().generation(), accepted);
        EXPECT_EQ(shm::identity_of(*reinterpret_cast<const shm::TablesHeader*>(publisher.region())), identity);
        EXPECT_EQ(publish(publisher, fleet_), accepted) << "a restart alone changes nothing";
        dataplane_->map();
        EXPECT_FALSE(dataplane_->turn()) << "nothing is new";
        for (int i = 0; i < 10; ++i) {
            change();
            EXPECT_EQ(publish(publisher, fleet_).value, accepted.value + 1 + static_cast<std::uint64_t>(i));
            EXPECT_TRUE(dataplane_->turn());
            Oracle().check(fleet_, dataplane_->in_use());
        }
        ASSERT_FALSE(HasFailure());
    }
}

TEST_F(Copy, ThatIsDamagedStaleOrOfOtherFlowsIsNotUsed) {
    make_history();
    const std::string copy = content("tables.copy");
    const auto& header = *reinterpret_cast<const shm::TablesHeader*>(copy.data());
    const std::uint64_t newest = header.published.load();
    const std::size_t root = header.roots[newest % shm::root_ring].offset.load();
    const std::size_t published = offsetof(shm::TablesHeader, published);
    const std::size_t seed = offsetof(shm::TablesHeader, random_seed);
    for (const std::size_t at : {std::size_t{0}, root + sizeof(shm::BlockHeader), published, seed}) {
        std::string bytes = copy;
        bytes[at] = static_cast<char>(at == published ? newest - 1 : bytes[at] ^ 1);
        write("tables.copy", bytes);
        write("tables", "");
        Publisher publisher = open();
        EXPECT_NE(publisher.replaced().find("new ids"), std::string::npos) << at;
        EXPECT_FALSE(publisher.tables().generation());
        EXPECT_GT(publish(publisher, fleet_).value, newest) << "generations go on above the accepted one";
    }
}

// While a worker holds an older generation than the copy's newest, what it holds must not be overwritten: the file that
// was made again knows nothing of it.
TEST_F(Copy, NothingIsPublishedUntilNobodyHoldsWhatTheNewFileDoesNotKnow) {
    make_history();
    shm::WorkerBlock& worker = shm::State(reinterpret_cast<std::byte*>(&dataplane_->header())).workers()[0];
    worker.passed.store(dataplane_->header().accepted.load() - 1);
    write("tables", "");
    Publisher publisher = open();
    EXPECT_FALSE(publisher.may_publish());
    worker.passed.store(dataplane_->header().accepted.load());
    EXPECT_TRUE(publisher.may_publish());
}

// One living data plane, through many publications that are damaged on their way: it takes the new generation or keeps
// the old one, and each of them is what was meant.
TEST_F(Copy, RandomFlipsInTheFileGiveTheOldGenerationOrTheNew) {
    make_history();
    Publisher publisher = open();
    constexpr int flips = 2'000;
    for (int tried = 0; tried < flips;) {
        const Fleet before = fleet_;
        const Generation old = dataplane_->in_use().generation();
        const std::uint64_t first_new = next_serial(publisher);
        change();
        publish(publisher, fleet_);
        const std::vector<Extent> fresh = blocks_since(publisher, first_new);
        auto* file = const_cast<std::byte*>(publisher.region());
        for (int k = 0; k < 20 && dataplane_->in_use().generation() == old; ++k, ++tried) {
            const std::uint64_t bit = pick_bit(publisher, fresh);
            const auto flip = [&] { file[bit / 8] ^= std::byte{1} << (bit % 8); };
            flip();
            dataplane_->turn();
            flip();
            const shm::Tables& now = dataplane_->in_use();
            Oracle().check(now.generation() == old ? before : fleet_, now);
            ASSERT_FALSE(HasFailure()) << "bit " << bit;
        }
        while (dataplane_->in_use().generation() == old) ASSERT_TRUE(dataplane_->turn());
        Oracle().check(fleet_, dataplane_->in_use());
    }
    for (const auto reason : {shm::RefusalReason::magic, shm::RefusalReason::size, shm::RefusalReason::checksum}) {
        EXPECT_GT(dataplane_->refused(reason), 0U) << static_cast<int>(reason);
    }
}

// The writer never believes the file: it makes it again from its own memory, and nothing is lost.
TEST_F(Copy, ALiveWriterMakesADamagedFileAgain) {
    make_history();
    Publisher publisher = open();
    EXPECT_FALSE(publisher.progress().file_damaged);
    const std::string sound = content("tables");
    for (const std::string& bytes : {std::string(), std::string("short"), sound.substr(0, sound.size() / 2)}) {
        write("tables", bytes);
        EXPECT_TRUE(publisher.progress().file_damaged);
        const Generation generation = dataplane_->in_use().generation();
        EXPECT_EQ(publish(publisher, fleet_), generation) << "the same, in a new file";
        EXPECT_FALSE(publisher.progress().file_damaged);
        dataplane_->map();
        change();
        publish(publisher, fleet_);
        EXPECT_TRUE(dataplane_->turn());
        Oracle().check(fleet_, dataplane_->in_use());
        Oracle().check(fleet_, publisher.tables());
    }
    fs::remove(directory_.path("tables"));
    EXPECT_TRUE(publisher.progress().file_damaged);
    publish(publisher, fleet_);
    EXPECT_TRUE(fs::exists(directory_.path("tables")));
    const_cast<std::byte*>(publisher.region())[offsetof(shm::TablesHeader, random_seed)] ^= std::byte{1};
    EXPECT_TRUE(publisher.progress().file_damaged) << "no checksum is over the header";
}

// The seed tells whose ids these are; no checksum is over it.
TEST_F(Copy, AFileWithTheIdsOfOthersIsMadeAgain) {
    make_history();
    std::string bytes = content("tables");
    bytes[offsetof(shm::TablesHeader, random_seed)] ^= 1;
    write("tables", bytes);
    Publisher publisher = open();
    EXPECT_NE(publisher.replaced().find("its ids are not those of the flows"), std::string::npos);
    EXPECT_EQ(publish(publisher, fleet_), dataplane_->in_use().generation());
}

TEST_F(Copy, AGenerationThatIsRefusedIsWorthOneNewFile) {
    make_history();
    Publisher publisher = open();
    change();
    publish(publisher, fleet_);
    auto* file = const_cast<std::byte*>(publisher.region());
    file[blocks_since(publisher, next_serial(publisher) - 1).front().offset] ^= std::byte{1};
    EXPECT_FALSE(dataplane_->turn());
    EXPECT_TRUE(publisher.progress().file_damaged);
    publish(publisher, fleet_);
    EXPECT_FALSE(publisher.progress().file_damaged) << "once, or a defect of ours would have no end";
    dataplane_->map();
    EXPECT_TRUE(dataplane_->turn());
    Oracle().check(fleet_, dataplane_->in_use());
}

// Bits flip everywhere while the writer goes on: it neither crashes nor publishes what it did not mean.
TEST_F(Copy, AWriterIsNotMisledByItsFile) {
    make_history();
    Publisher publisher = open();
    int refused = 0;
    for (int i = 0; i < 200; ++i) {
        auto* file = const_cast<std::byte*>(publisher.region());
        for (int k = 0; k < 50; ++k) {
            const std::uint64_t bytes = i % 2 == 0 ? sizeof(shm::TablesHeader) : std::uint64_t{65'536};
            const std::uint64_t bit = (i % 2) * shm::first_block_offset * 8 + fleet_.below(bytes * 8);
            file[bit / 8] ^= std::byte{1} << (bit % 8);
        }
        change();
        const Generation generation = publish(publisher, fleet_);
        Oracle().check(fleet_, publisher.tables());
        dataplane_->map();
        if (!dataplane_->turn()) {
            ++refused;
            ASSERT_TRUE(publisher.progress().file_damaged);
            EXPECT_EQ(publish(publisher, fleet_), generation);
            dataplane_->map();
            EXPECT_TRUE(dataplane_->turn());
        }
        Oracle().check(fleet_, dataplane_->in_use());
        ASSERT_FALSE(HasFailure()) << i;
    }
    EXPECT_GT(refused, 0);
}

// A successor in an upgrade takes the name and comes to nothing; and what those that are gone left is removed.
TEST_F(Copy, TheNameIsTakenBackAndLeftoversGo) {
    make_history();
    const fs::path name = directory_.path("tables.copy");
    const fs::path own = directory_.path("tables.copy." + std::to_string(getpid()));
    EXPECT_TRUE(fs::equivalent(name, own));
    fs::remove(name);
    write("tables.copy", "of a successor");
    dataplane_->keep_name();
    EXPECT_TRUE(fs::equivalent(name, own));
    write("tables.copy.1", "of one that is gone");
    dataplane_.reset();
    fs::remove(directory_.path("state"));
    dataplane_ = std::make_unique<DataPlane>(directory_);
    EXPECT_FALSE(fs::exists(directory_.path("tables.copy.1")));
    EXPECT_TRUE(fs::equivalent(name, own));
}

struct Died {};

// The control plane dies at any store of making the file again: its successor does it, and nobody saw half a file.
TEST_F(Copy, TheWriterMayDieAtAnyStoreOfMakingTheFileAgain) {
    make_history();
    write("tables", "damaged");
    int deaths = 0;
    for (bool died = true; died; ++deaths) {
        int stores = 0;
        try {
            died = false;
            open([&] {
                if (stores++ == deaths) throw Died{};
            });
        } catch (const Died&) {
            died = true;
            EXPECT_FALSE(dataplane_->turn());
            Oracle().check(fleet_, dataplane_->in_use());
        }
    }
    EXPECT_GE(deaths, 3);
    Publisher successor = open();
    EXPECT_EQ(successor.tables().generation(), dataplane_->in_use().generation());
    dataplane_->map();
    change();
    publish(successor, fleet_);
    EXPECT_TRUE(dataplane_->turn());
    Oracle().check(fleet_, dataplane_->in_use());
}

}  // namespace
}  // namespace shunt::controlplane
