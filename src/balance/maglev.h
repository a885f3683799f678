// Maglev look-up tables (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
// section 3.4) with weights, exactly as in DESIGN section 6: a pure function of keys, weights and size, so that every
// node computes the same table.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace shunt {

// A backend as Maglev sees it: the text "address:port" of RFC 5952, port 0 when it follows the VIP's port, and a weight
// from 0 (absent from the table) to max_weight.
struct WeightedKey {
    std::string key;
    std::uint32_t weight{};
};

constexpr std::uint32_t max_weight = 1000;
constexpr std::uint16_t maglev_none = 0xffff;  // what every slot holds when no backend is present
constexpr std::array<std::uint32_t, 5> maglev_sizes{1021, 4093, 16381, 65537, 655373};

bool is_prime(std::uint32_t n) noexcept;

// The smallest of maglev_sizes that is at least 100 times the number of backends, so that shares are within about one
// percent; the largest if none is.
std::uint32_t default_table_size(std::size_t backends) noexcept;

// Positions of the backends in byte-wise order of their keys: the numbering that tables use.
std::vector<std::uint16_t> key_order(std::span<const WeightedKey> backends);

// The slots. Each holds a position in byte-wise key order of all `backends` given, present or not, whatever their order
// here; or maglev_none when every weight is 0. Keys are distinct; table_size is a prime not below their number.
std::vector<std::uint16_t> maglev_table(std::span<const WeightedKey> backends, std::uint32_t table_size);

// The fingerprint of a table (CONTRACTS: `table show`): XXH64, seed 0, over each key and a newline in key order, then
// the slots as 32-bit little-endian positions among these keys, -1 for none. Absent backends (weight 0) do not count:
// equal hashes mean equal tables, whoever else is configured. `slots` as maglev_table returns them for `backends`.
std::uint64_t table_hash(std::span<const WeightedKey> backends, std::span<const std::uint16_t> slots);
std::string table_hash_text(std::uint64_t hash);  // 16 hex digits

}  // namespace shunt
