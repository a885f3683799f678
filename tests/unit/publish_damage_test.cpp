// What happens to a reader when bytes of the tables are not what the publisher wrote (RELIABILITY R10).
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <set>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/publish/reachable.h"
#include "src/shm/generation.h"
#include "src/shm/validate.h"
#include "tests/support/fleet.h"

namespace shunt::controlplane {
namespace {

using test::Fleet;

// Touches everything a worker could touch, and follows every index.
std::uint64_t walk(const shm::Tables& tables) {
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < tables.listeners.count(); ++i) {
        const shm::ListenerRecord& listener = tables.listeners[i];
        if (!listener.in_use) continue;
        for (const std::uint16_t slot : tables.slots(listener)) sum += slot;
        for (const shm::Handle handle : tables.handles(listener)) {
            const shm::BackendRecord& backend = tables.backend(handle);
            sum += tables.next_hop(backend.next_hop).mtu + tables.sources[backend.source.value].count;
            sum += static_cast<std::uint64_t>(shm::name_of(tables.services[backend.service.value]).size());
            sum += tables.source_map.find(backend.address, backend.port, backend.protocol);
        }
        for (std::uint64_t h = 0; h < 4; ++h) sum += tables.choose(listener, h << 62).value;
        sum += tables.listener_map.find(listener.address, listener.port, listener.protocol);
        sum += tables.listener_of(listener.address, listener.last_port, listener.protocol).value;
        sum += tables.route(listener.address).value + tables.is_local(listener.address);
    }
    return sum;
}

class Damage : public ::testing::Test {
  protected:
    Damage() : fleet_(11, 6), publisher_(Publisher::in_memory(std::uint64_t{1} << 20)) {
        for (int i = 0; i < 12; ++i) {
            EXPECT_TRUE(compiler_.compile(fleet_.inputs()));
            EXPECT_TRUE(publisher_.publish(compiler_.image()));
            fleet_.edit();
        }
        const auto& header = *reinterpret_cast<const shm::TablesHeader*>(publisher_.region());
        root_ = *shm::find_root(header, publisher_.tables().generation());
        bytes_ = publisher_.readable_bytes();
        copy_ = std::make_unique<std::byte[]>(bytes_ + 128);
        // A block of its own for the address sanitizer, aligned as a mapped file is at least to a line.
        base_ = copy_.get() + (128 - reinterpret_cast<std::uintptr_t>(copy_.get()) % 128);
        std::memcpy(base_, publisher_.region(), bytes_);
    }
    void flip(std::uint64_t bit) { base_[bit / 8] ^= std::byte{1} << (bit % 8); }

    // A data plane that starts now: what it accepts must be safe. True if it took the newest generation.
    bool accepts() {
        auto state = std::make_unique<shm::StateHeader>();
        shm::Acceptor acceptor(base_, bytes_, *state);
        const auto tables = acceptor.validate_newest();
        if (tables) sum_ += walk(*tables);
        return tables.has_value();
    }

    Fleet fleet_;
    Compiler compiler_{};
    Publisher publisher_;
    shm::BlockOffset root_{};
    std::uint64_t bytes_{};
    std::unique_ptr<std::byte[]> copy_{};
    std::byte* base_{};
    std::uint64_t sum_{};
};

TEST_F(Damage, NoBitOfTheHeaderHurts) {
    ASSERT_TRUE(accepts());
    for (std::uint64_t bit = 0; bit < sizeof(shm::TablesHeader) * 8; ++bit) {
        flip(bit);
        accepts();
        flip(bit);
    }
    EXPECT_TRUE(accepts());
}

TEST_F(Damage, EveryBitOfTheRootAndOfItsHeaderIsSeen) {
    const std::uint64_t payload = root_ + sizeof(shm::BlockHeader);
    const std::uint64_t used_header = offsetof(shm::BlockHeader, checksum) + sizeof(std::uint64_t);
    for (std::uint64_t bit = root_ * 8; bit < (payload + sizeof(shm::Root)) * 8; ++bit) {
        const bool is_unused = bit / 8 >= root_ + used_header && bit / 8 < payload;
        flip(bit);
        EXPECT_EQ(accepts(), is_unused) << "bit " << bit - root_ * 8;
        flip(bit);
    }
}

TEST_F(Damage, EveryFlippedByteOfALiveBlockIsSeen) {
    const auto blocks = reachable(base_, root_);
    for (int i = 0; i < 20'000; ++i) {
        const Extent& block = blocks[fleet_.below(blocks.size())];
        const auto& header = *reinterpret_cast<const shm::BlockHeader*>(base_ + block.offset);
        const std::uint64_t payload = block.offset + sizeof(shm::BlockHeader);
        const std::uint64_t byte = payload + fleet_.below(header.size);
        const auto value = std::byte{static_cast<unsigned char>(1 + fleet_.below(255))};
        base_[byte] ^= value;
        ASSERT_FALSE(accepts()) << "byte " << byte - payload << " of a block of kind "
                                << static_cast<std::uint32_t>(header.kind);
        base_[byte] ^= value;
    }
}

// As a data plane reads them that keeps its own copy: whatever it takes is what was meant.
TEST_F(Damage, TenThousandFlipsAnywhereAreRefusedByReasonOrHarmless) {
    auto state = std::make_unique<shm::StateHeader>();
    const auto& header = *reinterpret_cast<const shm::TablesHeader*>(base_);
    const std::uint64_t sum = walk(publisher_.tables());
    std::uint64_t refused = 0, taken = 0;
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t bit = fleet_.below(bytes_ * 8);
        flip(bit);
        shm::TablesCopy copy = shm::TablesCopy::in_memory(shm::Region::anonymous(bytes_), header);
        shm::Acceptor acceptor(base_, bytes_, *state, &copy);
        state->refused_generation.store(0);
        const auto tables = acceptor.validate_newest();
        flip(bit);
        taken += tables.has_value();
        if (tables) {
            ASSERT_EQ(walk(*tables), sum) << "bit " << bit;
        }
    }
    for (const auto& counter : state->refusals) refused += counter.read();
    EXPECT_GT(refused, 0U);
    EXPECT_GT(taken, 0U);
}

// Blocks with a checksum that fits, but with nonsense inside: what a broken or hostile writer could publish.
TEST_F(Damage, NonsenseWithARightChecksumIsRefusedOrHarmless) {
    const auto blocks = reachable(base_, root_);
    std::size_t refused = 0;
    constexpr int attempts = 20'000;
    for (int i = 0; i < attempts; ++i) {
        const Extent& block = blocks[fleet_.below(blocks.size())];
        auto& header = *reinterpret_cast<shm::BlockHeader*>(base_ + block.offset);
        const shm::BlockHeader before = header;
        std::byte* payload = base_ + block.offset + sizeof(shm::BlockHeader);
        const std::uint64_t at = fleet_.below(header.size);
        const std::byte old = payload[at];
        payload[at] = std::byte{static_cast<unsigned char>(fleet_.below(256))};
        header.checksum = shm::block_checksum(header, payload);
        refused += !accepts();
        // Who refused it once does so again, whatever it remembers of its parts.
        shm::Validator validator(base_, bytes_);
        const Generation generation = publisher_.tables().generation();
        EXPECT_EQ(validator.check(generation, root_), validator.check(generation, root_));
        payload[at] = old;
        header = before;
    }
    EXPECT_GT(refused, attempts / 100);
    EXPECT_LT(refused, attempts);
    EXPECT_TRUE(accepts());
}

}  // namespace
}  // namespace shunt::controlplane
