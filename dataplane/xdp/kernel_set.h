// A hash map of the kernel used as a set of keys, with a copy here that saves asking it: nobody else writes to it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "dataplane/xdp/descriptor.h"
#include "dataplane/xdp/program.h"
#include "dataplane/xdp/steer_maps.h"
#include "src/base/result.h"

namespace shunt::dataplane::xdp {

// Any key of steer_maps.h; what is beyond its size is zero, and the kernel reads no further than its size.
struct SetKey {
    std::array<std::uint8_t, std::max(sizeof(steer_endpoint), sizeof(steer_port_block))> bytes{};

    template <class Key>
    static SetKey of(const Key& key) noexcept {
        static_assert(std::has_unique_object_representations_v<Key> && sizeof(Key) <= sizeof(SetKey));
        SetKey result;
        std::memcpy(result.bytes.data(), &key, sizeof key);
        return result;
    }
    friend bool operator==(const SetKey&, const SetKey&) noexcept = default;
    friend bool operator<(const SetKey& a, const SetKey& b) noexcept {
        return std::memcmp(a.bytes.data(), b.bytes.data(), sizeof a.bytes) < 0;
    }
};

// Sorted, each once: a million keys are compared with a million others in one pass.
class SetKeys {
  public:
    SetKeys() = default;
    explicit SetKeys(std::vector<SetKey> keys);

    const std::vector<SetKey>& sorted() const noexcept { return keys_; }

    SetKeys without(const SetKeys& others) const;
    void add(const SetKeys& others);

  private:
    std::vector<SetKey> keys_;
};

class KernelSet {
  public:
    // Reads what the map holds already.
    static Result<KernelSet> open(const Interface& interface, const Program& program, const std::string& map);

    // After an error, what was done before it is done.
    Status add(const SetKeys& wanted);
    Status keep_only(const SetKeys& wanted);

    std::size_t size() const noexcept { return keys_.sorted().size(); }

  private:
    KernelSet(std::string name, Descriptor map) : name_(std::move(name)), map_(std::move(map)) {}
    Error failure(const std::string& what, int error) const;

    std::string name_;  // for errors: interface and map
    Descriptor map_;
    SetKeys keys_;
};

}  // namespace shunt::dataplane::xdp
