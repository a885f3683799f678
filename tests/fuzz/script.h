// What a fuzzed input tells an instance to do, coded in bytes: every input is a script, and every script makes sense.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "src/base/time.h"
#include "tests/support/packets.h"

namespace shunt::test {

enum class Op : std::uint8_t {
    packet,  // flags (8), length (16), that many bytes: a packet arrives
    again,   // flags (8), number (8): the last packet, so many times more
    wait,    // exponent (8): 2^exponent milliseconds pass
    change,  // service (8), backend (8), what (8): the tables change
    refuse,  // flags (8): what is short during the next burst
    learn,   // which (8), address (8): the link address of a next hop or neighbour is learnt; 0: it is forgotten
    count
};

// Flags of packets.
constexpr std::uint8_t on_second_worker = 1;
constexpr std::uint8_t in_one_burst = 2;  // with the packet after it
constexpr std::uint8_t is_segmented = 4;
constexpr std::uint8_t has_bad_checksum = 8;
// Flags of refusals.
constexpr std::uint8_t no_punt = 1;
constexpr std::uint8_t no_transmit = 2;
constexpr std::uint8_t no_buffers = 4;

constexpr std::uint32_t wait_exponents = 23;  // the longest is a little over an hour

class ScriptReader {
  public:
    explicit ScriptReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    bool done() const noexcept { return bytes_.empty(); }
    // Zero behind the end.
    std::uint8_t byte() noexcept {
        if (bytes_.empty()) return 0;
        const std::uint8_t value = bytes_.front();
        bytes_ = bytes_.subspan(1);
        return value;
    }
    std::uint8_t below(std::size_t bound) noexcept { return static_cast<std::uint8_t>(byte() % bound); }
    // As many as there are.
    Bytes bytes(std::size_t count) {
        const auto part = std::as_bytes(bytes_.first(std::min(count, bytes_.size())));
        bytes_ = bytes_.subspan(part.size());
        return {part.begin(), part.end()};
    }

  private:
    std::span<const std::uint8_t> bytes_;
};

class ScriptWriter {
  public:
    explicit ScriptWriter(std::uint8_t setup) : bytes_{setup} {}

    void packet(const Bytes& packet, std::uint8_t flags = 0) {
        put({static_cast<std::uint8_t>(Op::packet), flags, static_cast<std::uint8_t>(packet.size()),
             static_cast<std::uint8_t>(packet.size() >> 8)});
        for (const std::byte byte : packet) bytes_.push_back(std::to_integer<std::uint8_t>(byte));
    }
    void again(std::uint8_t number, std::uint8_t flags = 0) {
        put({static_cast<std::uint8_t>(Op::again), flags, number});
    }
    void wait(Duration time) {
        std::uint8_t exponent = 0;
        while (std::int64_t{1} << exponent < time.in_milliseconds()) ++exponent;
        put({static_cast<std::uint8_t>(Op::wait), exponent});
    }
    void change(std::uint8_t service, std::uint8_t backend, std::uint8_t what) {
        put({static_cast<std::uint8_t>(Op::change), service, backend, what});
    }
    void learn(std::uint8_t which, std::uint8_t address) {
        put({static_cast<std::uint8_t>(Op::learn), which, address});
    }
    void refuse(std::uint8_t flags) { put({static_cast<std::uint8_t>(Op::refuse), flags}); }
    const std::vector<std::uint8_t>& bytes() const noexcept { return bytes_; }

  private:
    void put(std::initializer_list<std::uint8_t> bytes) { bytes_.insert(bytes_.end(), bytes); }
    std::vector<std::uint8_t> bytes_;
};

}  // namespace shunt::test
